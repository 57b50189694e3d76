"""Whether a request means this site: the `Host` that it names. Pure.

Anybody's page can have its reader's browser ask a name that the page's owner has let point to 127.0.0.1 (DNS
rebinding), and read the answer. Such a request names that name. An address cannot be turned so, nor `localhost`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address

_WITH_PORT = re.compile(r"(?P<name>\[[^\]]*\]|[^:\[\]]*)(?::[0-9]{0,5})?")


class Hosts:
    """The names that the site has."""

    def __init__(self, names: Collection[str]) -> None:
        """`names`: those beside addresses and `localhost`, without ports, in small letters."""
        self._names = frozenset(names) | {"localhost"}

    def admits(self, host: bytes) -> bool:
        """Tell whether the value of a `Host` header (RFC 9110 §7.2) names this site."""
        found = _WITH_PORT.fullmatch(host.decode("latin-1").lower())
        if found is None:
            return False
        name = found["name"]
        return name.removesuffix(".") in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    bracketed = name.startswith("[")
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return False
    return bracketed == isinstance(address, IPv6Address)
