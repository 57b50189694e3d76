"""Attacks, on real servers where one relays them."""
