"""What was said in one room, who has seen what of it, and archives."""
