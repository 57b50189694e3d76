"""Whether XML says a namespace again where it is in force already. Some clients (nbxmpp) fall over that."""

from functools import lru_cache
from xml.parsers import expat


@lru_cache(maxsize=10_000)
def repeated_declarations(raw: bytes, default: str = "jabber:client") -> tuple[str, ...]:
    """Return what an element of a stream with this default namespace declares though it inherits it."""
    found: list[str] = []
    scopes: list[dict[str, str]] = [{"xmlns": default}]

    def start(name: str, attributes: dict[str, str]) -> None:
        inherited = scopes[-1]
        declared = {key: value for key, value in attributes.items() if key.partition(":")[0] == "xmlns"}
        found.extend(f"<{name} {key}='{uri}'>" for key, uri in declared.items() if inherited.get(key) == uri)
        scopes.append({**inherited, **declared})

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _name: scopes.pop()
    parser.Parse(raw, True)
    return tuple(found)
