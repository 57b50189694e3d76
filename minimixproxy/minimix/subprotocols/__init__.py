"""Messages and IQs between sessions and rooms, both ways."""
