"""Tests with real servers and real clients, all on loopback."""
