"""From bytes to stanzas and back, without any XMPP meaning."""
