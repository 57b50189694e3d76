"""What extensions look like on the wire, read and built. No state."""
