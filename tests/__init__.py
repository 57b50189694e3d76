"""Tests, laid out like the package; tests/integration runs real servers."""
