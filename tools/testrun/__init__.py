"""Runs trial's tests in parallel: see tools/run_trial.py."""
