"""Notification settings of a chat (XEP-0492), in the extensions of its bookmark (XEP-0402). Pure.

Of several, the most specific one counts that is for phones, which is what push is for; then one for clients of any
type, then one for all.
"""

from __future__ import annotations

from twisted.words.xish import domish

from minimixproxy.namespaces import NS_BOOKMARKS, NS_CLIENT, NS_NOTIFY
from minimixproxy.wire.stanza import parse_element

_SETTINGS = ("always", "on-mention", "never")
_MARK = b":notification-settings:"


def setting_of(conference: bytes) -> str | None:
    """Return `always`, `on-mention` or `never`, as a bookmark says; None if it says nothing that is known here."""
    if _MARK not in conference:
        return None
    element = parse_element(conference, {"": NS_CLIENT})
    for extensions in element.elements(NS_BOOKMARKS, "extensions"):
        for uri in NS_NOTIFY:
            for notify in extensions.elements(uri, "notify"):
                return _most_specific(notify)
    return None


def _most_specific(notify: domish.Element) -> str | None:
    found: dict[int, str] = {}
    for setting in notify.elements():
        rank = _rank(setting)
        if rank is not None and setting.uri == notify.uri and setting.name in _SETTINGS:
            found.setdefault(rank, setting.name)
    return found[max(found)] if found else None


def _rank(setting: domish.Element) -> int | None:
    """Return how specific a setting is for a phone; None: it is for something else. `client-type`: version 0.1."""
    category = setting.getAttribute("identity-category")
    kind = setting.getAttribute("identity-type") or setting.getAttribute("client-type")
    if category not in (None, "client") or kind not in (None, "phone"):
        return None
    return (category is not None) + 2 * (kind is not None)
