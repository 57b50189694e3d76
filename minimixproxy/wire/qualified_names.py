"""Names as expat gives them, with a separator between URI and local name, and as we do."""

from __future__ import annotations

# What can stand in neither of the two, be it escaped: expat refuses a URI with the separator in it.
SEPARATOR = "\x01"
# Names repeat, so most have been split before. Bounded in number and in length.
KNOWN_NAMES: dict[str, tuple[str, str]] = {}
_MAX_KNOWN = 1024


def split_name(name: str) -> tuple[str, str]:
    """Return URI and local name of a name as expat gives it, and remember it."""
    known = KNOWN_NAMES.get(name)
    if known is not None:
        return known
    uri, _, local = name.rpartition(SEPARATOR)
    if len(name) <= 200:
        if len(KNOWN_NAMES) >= _MAX_KNOWN:
            KNOWN_NAMES.clear()
        KNOWN_NAMES[name] = (uri, local)
    return uri, local


def named_attributes(attributes: dict[str, str]) -> dict[str, str]:
    """Name prefixed attributes `{uri}name`; almost always there is none but `xml:lang`."""
    if SEPARATOR not in "".join(attributes):
        return attributes
    return {
        ("{" + key.replace(SEPARATOR, "}", 1) if SEPARATOR in key else key): value for key, value in attributes.items()
    }
