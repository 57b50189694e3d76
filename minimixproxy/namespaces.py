"""All namespaces that the proxy knows by name."""

# XML and streams (RFC 6120)
NS_XML = "http://www.w3.org/XML/1998/namespace"
NS_CLIENT = "jabber:client"
NS_COMPONENT = "jabber:component:accept"  # XEP-0114
NS_STREAM = "http://etherx.jabber.org/streams"
NS_STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
NS_SESSION = "urn:ietf:params:xml:ns:xmpp-session"  # RFC 3921 §3

# Stream features
NS_BIND2 = ("urn:xmpp:bind2:0", "urn:xmpp:bind:0")  # XEP-0386
NS_CSI = "urn:xmpp:csi:0"  # XEP-0352
NS_CHANNEL_BINDING = "urn:xmpp:sasl-cb:0"  # XEP-0440
NS_COMPRESS = "http://jabber.org/protocol/compress"  # XEP-0138
NS_COMPRESS_FEATURE = "http://jabber.org/features/compress"
NS_FAST = "urn:xmpp:fast:0"  # XEP-0484
NS_FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"  # RFC 7395
NS_ISR = ("https://xmpp.org/extensions/isr/0", "urn:xmpp:isr:0")  # XEP-0397
NS_LIMITS = "urn:xmpp:stream-limits:0"  # XEP-0478
NS_SASL2 = "urn:xmpp:sasl:2"  # XEP-0388
NS_SASL_UPGRADE = "urn:xmpp:sasl:upgrade:0"  # XEP-0480
NS_SM3 = "urn:xmpp:sm:3"  # XEP-0198
NS_SM = ("urn:xmpp:sm:2", NS_SM3)

# Registration (XEP-0077, XEP-0445)
NS_REGISTER = "jabber:iq:register"
NS_REGISTER_FEATURE = "http://jabber.org/features/iq-register"
NS_IBR_TOKEN = "urn:xmpp:ibr-token:0"
NS_INVITE = "urn:xmpp:invite"  # what Prosody's invitations offered before XEP-0445, and still do
NS_PREAUTH = "urn:xmpp:pars:0"

# Groupchat (XEP-0045)
NS_MUC = "http://jabber.org/protocol/muc"
NS_MUC_ADMIN = NS_MUC + "#admin"
NS_MUC_OWNER = NS_MUC + "#owner"
NS_MUC_USER = NS_MUC + "#user"
NS_OCCUPANT_ID = "urn:xmpp:occupant-id:0"  # XEP-0421

# Messages
NS_ATTENTION = "urn:xmpp:attention:0"  # XEP-0224
NS_CALL_INVITES = "urn:xmpp:call-invites:0"  # XEP-0482
NS_CARBONS = "urn:xmpp:carbons:2"  # XEP-0280
NS_CHATSTATES = "http://jabber.org/protocol/chatstates"  # XEP-0085
NS_CONFERENCE = "jabber:x:conference"  # XEP-0249
NS_CORRECT = "urn:xmpp:message-correct:0"  # XEP-0308
NS_DELAY = "urn:xmpp:delay"  # XEP-0203
NS_EME = "urn:xmpp:eme:0"  # XEP-0380
NS_FASTEN = "urn:xmpp:fasten:0"  # XEP-0422
NS_FORWARD = "urn:xmpp:forward:0"  # XEP-0297
NS_HINTS = "urn:xmpp:hints"  # XEP-0334
NS_JINGLE_MESSAGE = ("urn:xmpp:jingle-message:0", "urn:xmpp:jingle-message:1")  # XEP-0353
NS_MAM = "urn:xmpp:mam:2"  # XEP-0313
NS_MAM_1 = "urn:xmpp:mam:1"
NS_MARKERS = "urn:xmpp:chat-markers:0"  # XEP-0333
NS_MDS = "urn:xmpp:mds:displayed:0"  # XEP-0490
NS_MENTIONS = "urn:xmpp:mentions:0"  # XEP-0513
NS_MODERATE = "urn:xmpp:message-moderate:1"  # XEP-0425
NS_MODERATE_0 = "urn:xmpp:message-moderate:0"
NS_OMEMO = ("eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2")  # XEP-0384
NS_REACTIONS = "urn:xmpp:reactions:0"  # XEP-0444
NS_RECEIPTS = "urn:xmpp:receipts"  # XEP-0184
NS_REFERENCE = "urn:xmpp:reference:0"  # XEP-0372
NS_REPLY = "urn:xmpp:reply:0"  # XEP-0461
NS_RETRACT = "urn:xmpp:message-retract:1"  # XEP-0424
NS_RETRACT_0 = "urn:xmpp:message-retract:0"
NS_RSM = "http://jabber.org/protocol/rsm"  # XEP-0059
NS_SID = "urn:xmpp:sid:0"  # XEP-0359

# Bookmarks and where they are kept
NS_BOOKMARKS = "urn:xmpp:bookmarks:1"  # XEP-0402
NS_NOTIFY = ("urn:xmpp:notification-settings:1", "urn:xmpp:notification-settings:0")  # XEP-0492
NS_PRIVATE = "jabber:iq:private"  # XEP-0049
NS_PUBSUB = "http://jabber.org/protocol/pubsub"  # XEP-0060
NS_PUBSUB_EVENT = NS_PUBSUB + "#event"
NS_PUBSUB_OWNER = NS_PUBSUB + "#owner"
NS_STORAGE = "storage:bookmarks"  # XEP-0048

# Requests
NS_BYTESTREAMS = "http://jabber.org/protocol/bytestreams"  # XEP-0065
NS_CAPS = "http://jabber.org/protocol/caps"  # XEP-0115
NS_COMMANDS = "http://jabber.org/protocol/commands"  # XEP-0050
NS_DATA = "jabber:x:data"  # XEP-0004
NS_DATA_VALIDATE = "http://jabber.org/protocol/xdata-validate"  # XEP-0122
NS_DISCO_INFO = "http://jabber.org/protocol/disco#info"  # XEP-0030
NS_DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
NS_IBB = "http://jabber.org/protocol/ibb"  # XEP-0047
NS_JINGLE = "urn:xmpp:jingle:1"  # XEP-0166
NS_LAST = "jabber:iq:last"  # XEP-0012
NS_PING = "urn:xmpp:ping"  # XEP-0199
NS_PUSH = "urn:xmpp:push:0"  # XEP-0357
NS_PUSH_SUMMARY = "urn:xmpp:push:summary"
NS_SI = "http://jabber.org/protocol/si"  # XEP-0095
NS_VERSION = "jabber:iq:version"  # XEP-0092
