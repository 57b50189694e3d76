"""SASL mechanisms as messages, for both ends: what they look like, and what proves what. No I/O."""
