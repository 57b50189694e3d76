"""The log: one logger that quotes what peers name, and how much of a kind it takes."""
