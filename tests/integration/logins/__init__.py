"""Stand-ins for clients that people use, as far as logging in goes: their rules, and a device that keeps to them."""
