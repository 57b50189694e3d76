"""Towards servers: finding, connecting, securing, logging in, binding."""
