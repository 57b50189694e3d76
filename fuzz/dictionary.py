"""Words that a fuzzer would not find by itself: libFuzzer's dictionary."""

from __future__ import annotations

from pathlib import Path

from minimixproxy.config.settings import ClientProxy, Domain, Limits, Listen, Rooms, Settings
from tests import absurd

_MARKUP = ("<![CDATA[", "]]>", "<!--", "<?xml", "</message>", "xmlns='", "xmlns:p='", "&amp;", "&#x41;", "xml:lang='")


def words() -> list[str]:
    """Return what stanzas, streams and configuration files are made of."""
    sections = (Settings, Listen, Domain, Rooms, Limits, ClientProxy)
    keys = [f"{key} = " for section in sections for key in section.model_fields]
    namespaces = [f"xmlns='{uri}'" for uri, _name in absurd.NAMES]
    names = [name for _uri, name in absurd.NAMES]
    found = (*_MARKUP, *keys, *namespaces, *names, *absurd.ATTRIBUTES, *absurd.KINDS, *absurd.ODD_TEXT)
    return [word for word in dict.fromkeys(found) if 0 < len(word.encode()) <= 64]


def write_dictionary(path: Path) -> Path:
    """Write the file, and return where it is."""
    path.write_text("".join(f'"{_quoted(word)}"\n' for word in words()))
    return path


def _quoted(word: str) -> str:
    plain = bytes(range(0x20, 0x7F)).replace(b'"', b"").replace(b"\\", b"")
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02X}" for byte in word.encode())
