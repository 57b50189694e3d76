"""Connections and TLS."""
