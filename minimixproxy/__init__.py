"""An XMPP proxy by which an account, not each of its clients, joins a groupchat.

Read from tap.py inward: it composes everything.
"""

__version__ = "0.2.0"
