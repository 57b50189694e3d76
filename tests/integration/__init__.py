"""Tests with real servers and real clients, all on loopback."""

# tools/run_trial.py: not for `make unit`
needs_programs = True
