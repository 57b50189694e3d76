"""Push for rooms (XEP-0357): devices that sleep or are gone are told of what matters to them."""
