"""How much of something may be kept, or done."""
