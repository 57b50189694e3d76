"""XMPP over WebSocket (RFC 7395): a transport for clients' streams, and how clients find it (XEP-0156)."""
