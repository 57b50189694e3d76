"""Addresses on stanzas that leave the account, or name other accounts of this proxy."""
