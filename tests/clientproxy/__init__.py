"""Tests of client_proxy."""
