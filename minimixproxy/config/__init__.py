"""The configuration file: read, checked, and what is said of its mistakes."""
