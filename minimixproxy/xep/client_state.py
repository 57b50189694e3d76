"""Client state indication (XEP-0352) on the wire. Pure functions."""

from __future__ import annotations

from minimixproxy.namespaces import NS_CLIENT, NS_CSI
from minimixproxy.wire.stanza import Stanza

FEATURE = b"<csi xmlns='%b'/>" % NS_CSI.encode()
INACTIVE = Stanza(b"<inactive xmlns='%b'/>" % NS_CSI.encode(), NS_CSI, "inactive", {}, (), {"": NS_CLIENT})
ACTIVE = Stanza(b"<active xmlns='%b'/>" % NS_CSI.encode(), NS_CSI, "active", {}, (), {"": NS_CLIENT})


def is_offered(features: Stanza) -> bool:
    """Tell whether a server takes what its clients say of their state."""
    return features.has_payload(NS_CSI, "csi")


def told_state(element: Stanza) -> str | None:
    """Return "active" or "inactive" if an element says that, else None."""
    return element.name if element.uri == NS_CSI and element.name in ("active", "inactive") else None
