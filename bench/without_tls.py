"""Import this before twistd runs, and clients on this machine may log in without TLS. For measurements only.

No configuration allows that.
"""

from functools import partial

from minimixproxy.c2s.server import listener

listener.client_service = partial(listener.client_service, plaintext_from_loopback=True)
