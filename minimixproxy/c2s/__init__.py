"""Streams with clients and with servers."""
