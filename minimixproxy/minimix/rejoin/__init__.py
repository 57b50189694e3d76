"""Out of a room by a fault, and in again: when, how, and what was missed."""
