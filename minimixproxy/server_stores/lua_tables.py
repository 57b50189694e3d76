"""Reads the part of Lua in which Prosody writes its files: `return { ["key"] = "value"; … };`. Pure.

Nothing is evaluated: what is no literal is refused. Prosody's `util.serialization` is what writes it.
"""

from __future__ import annotations

import re
from typing import Union

MAX_DEPTH = 8  # tables in each other

#: What a file may hold. Keys are strings and numbers; those of the array part count from 1.
LuaValue = Union[str, int, float, bool, None, "LuaTable"]
LuaTable = dict[str | int | float, LuaValue]

_SPACE = re.compile(rb"(?:[ \t\r\n\f\v]+|--[^\n]*)*+")
_STRING = re.compile(rb'"((?:[^"\\\n]|\\.|\\\n)*+)"|\'((?:[^\'\\\n]|\\.|\\\n)*+)\'', re.DOTALL)
_NUMBER = re.compile(rb"-?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?(?![0-9A-Za-z_.])")
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPE = re.compile(rb"\\(?:([0-9]{1,3})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPES = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b"\\": b"\\", b'"': b'"', b"'": b"'", b"\n": b"\n",
}  # fmt: skip
_WORDS: dict[bytes, LuaValue] = {b"true": True, b"false": False, b"nil": None}


class NoTable(ValueError):
    """It is no such file; `str()` says where it stops to be one."""


def read_table(source: bytes) -> LuaTable:
    """Return the table that a file returns. Strings are UTF-8. Raises `NoTable`."""
    reader = _Reader(source)
    reader.expect(b"return")
    value = reader.value(0)
    reader.skip(b";")
    if reader.rest() or not isinstance(value, dict):
        raise reader.fault("one table is expected")
    return value


class _Reader:
    """Goes through the source once, from left to right."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._at = 0

    def fault(self, text: str) -> NoTable:
        return NoTable(f"{text}, at byte {self._at}")

    def rest(self) -> bool:
        """Tell whether something follows."""
        self._skip_space()
        return self._at < len(self._source)

    def skip(self, token: bytes) -> bool:
        """Go past a token if it is the next; tell whether it was."""
        self._skip_space()
        if not self._source.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def expect(self, token: bytes) -> None:
        if not self.skip(token):
            raise self.fault(f"{token.decode()} is missing")

    def _skip_space(self) -> None:
        space = _SPACE.match(self._source, self._at)
        self._at = space.end() if space is not None else self._at

    def _take(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = pattern.match(self._source, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def value(self, depth: int) -> LuaValue:
        """Read a value."""
        self._skip_space()
        if self._source.startswith(b"{", self._at):
            return self._table(depth + 1)
        literal = self._literal()
        if literal is not None:
            return literal
        word = self._take(_NAME)
        if word is None or word[0] not in _WORDS:
            raise self.fault("no literal")
        return _WORDS[word[0]]

    def _literal(self) -> str | int | float | None:
        string = self._take(_STRING)
        if string is not None:
            return self._text(string[1] if string[1] is not None else string[2])
        number = self._take(_NUMBER)
        if number is None:
            return None
        return float(number[0]) if number[1] or number[2] else int(number[0])

    def _text(self, quoted: bytes) -> str:
        try:
            return _ESCAPE.sub(_unescaped, quoted).decode("utf-8")
        except (KeyError, ValueError, OverflowError) as error:
            raise self.fault("no string") from error

    def _table(self, depth: int) -> LuaTable:
        if depth > MAX_DEPTH:
            raise self.fault("too many tables in each other")
        self.expect(b"{")
        table: LuaTable = {}
        position = 1
        while not self.skip(b"}"):
            key = self._key()
            if key is None:
                key, position = position, position + 1
            table[key] = self.value(depth)
            if not (self.skip(b";") or self.skip(b",")):
                self.expect(b"}")
                break
        return table

    def _key(self) -> str | int | float | None:
        """Read `[…] =` or `name =`; None: a value stands there alone."""
        if self.skip(b"["):
            self._skip_space()
            key = self._literal()
            if key is None:
                raise self.fault("no key")
            self.expect(b"]")
            self.expect(b"=")
            return key
        start = self._at
        name = self._take(_NAME)
        if name is not None and self.skip(b"="):
            return name[0].decode()
        self._at = start
        return None


def _unescaped(escape: re.Match[bytes]) -> bytes:
    decimal, hexadecimal, sign = escape.groups()
    if decimal is not None:
        return bytes([int(decimal)])
    return bytes.fromhex(hexadecimal.decode()) if hexadecimal is not None else _ESCAPES[sign]
