"""Towards clients: ports, negotiation, login, and what is asked before one."""
