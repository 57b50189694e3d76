"""`make fuzz`: input that nobody thought of, on and on, and what must hold for it all the same (docs/testing.md)."""
