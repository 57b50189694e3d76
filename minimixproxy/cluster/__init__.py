"""Several processes serve the same accounts: who holds which, and how clients reach the holder."""
