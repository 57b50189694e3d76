"""What XMPP servers keep of their accounts' passwords, read from their own stores: files, tables, exports."""
