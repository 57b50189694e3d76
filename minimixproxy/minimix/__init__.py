"""Accounts in rooms: stanzas in, effects out. No input or output here."""
