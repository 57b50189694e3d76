"""Attacks, on real servers where one relays them."""

# tools/run_trial.py: not for `make unit`
needs_programs = True
