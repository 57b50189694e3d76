"""The parts of an occupancy: what the room has shown, who is attached, how the account appears."""
