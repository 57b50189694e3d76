"""Time: the clock, waits that grow, doing a little at a time."""
