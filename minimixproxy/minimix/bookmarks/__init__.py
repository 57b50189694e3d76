"""Bookmarks of one account: followed, and written back."""
