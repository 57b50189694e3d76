"""Namespaces of the stream negotiation (RFC 6120, XEP-0138, XEP-0198, XEP-0388 and what goes with it)."""

NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
NS_STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
NS_XML = "http://www.w3.org/XML/1998/namespace"

NS_CARBONS = "urn:xmpp:carbons:2"
NS_SM = ("urn:xmpp:sm:2", "urn:xmpp:sm:3")
NS_COMPRESS_FEATURE = "http://jabber.org/features/compress"
NS_COMPRESS = "http://jabber.org/protocol/compress"
NS_SASL2 = "urn:xmpp:sasl:2"
NS_BIND2 = ("urn:xmpp:bind2:0", "urn:xmpp:bind:0")
NS_FAST = "urn:xmpp:fast:0"
NS_ISR = ("https://xmpp.org/extensions/isr/0", "urn:xmpp:isr:0")
NS_CHANNEL_BINDING = "urn:xmpp:sasl-cb:0"
NS_SASL_UPGRADE = "urn:xmpp:sasl:upgrade:0"

NS_REGISTER = "jabber:iq:register"
NS_REGISTER_FEATURE = "http://jabber.org/features/iq-register"
NS_IBR_TOKEN = "urn:xmpp:ibr-token:0"
NS_INVITE = "urn:xmpp:invite"  # what Prosody's invitations offered before XEP-0445, and still do
NS_PREAUTH = "urn:xmpp:pars:0"
