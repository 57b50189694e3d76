"""What each end of a stream counts so that it can be resumed (XEP-0198). Pure; what it looks like is in `xep`."""
