"""Tests of what a chaos run proves by."""
