"""A bound client: passing on both ways, output, how far it has come."""
