"""Reading a file as TOML, and what is wrong with it in words and by line: of this the parser has its own ideas."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_DECLARED = re.compile(r"^Cannot (?:declare|mutate immutable namespace) \((.*?),?\)")
_KEY = re.compile(r"\s*([^=\[]+?)\s*=")
_HEAD = re.compile(r"\s*\[+\s*(.*?)\s*\]")
_TWICE = "one that may be repeated has double brackets"

#: What the parser says, by its beginning, and what that means.
_MEANINGS = (
    ("Expected '=' after a key", 'a key has to be followed by "=" and a value'),
    ("Invalid statement", "this is neither a key with a value nor the head of a [table]"),
    ("Invalid value", "this is no value: text needs quotation marks, lists brackets"),
    ("Invalid initial character for a key part", "this is no key"),
    ("Expected newline or end of document", "something stands behind the value: one key to a line"),
    ("Expected ']", 'the head of a table has to be closed by "]", of one that may be repeated by "]]"'),
    ("Expected '", "a text has to be closed by a quotation mark"),
    ('Expected "', "a text has to be closed by a quotation mark"),
    ("Unterminated string", "a text has to be closed by a quotation mark"),
    ("Illegal character '\\n'", "a text has to be closed by a quotation mark on its line"),
    ("Unescaped '\\'", "a backslash in a text is written twice, or the text in 'single' quotation marks"),
    ("Unclosed array", "a list has to be closed by a bracket"),
)


class TOMLError(Exception):
    """The file cannot be read as TOML. The text says where and why."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return what the file holds. Raises `TOMLError`, or `OSError` if it cannot be read."""
    data = path.read_bytes()
    if data.startswith(b"\xef\xbb\xbf"):
        raise TOMLError("line 1: begins with a byte order mark (BOM): save it as UTF-8 without one")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TOMLError("line 1: is UTF-16: save it as UTF-8, without a byte order mark (BOM)")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise TOMLError(f"line {line}: not UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TOMLError(_explained(str(error), text)) from error
    except RecursionError as error:
        raise TOMLError("not valid TOML: nested too deeply") from error


def _explained(fault: str, text: str) -> str:
    place = _PLACE.search(fault)
    lines = text.rstrip().splitlines() or [""]
    number = int(place[1]) if place is not None and place[1] else len(lines)
    what = _PLACE.sub("", fault)
    return f"line {number}: not valid TOML: {_meaning(what, lines[min(number, len(lines)) - 1])}"


def _meaning(fault: str, line: str) -> str:
    declared = _DECLARED.match(fault)
    if declared is not None:
        name = ".".join(part.strip("'\" ") for part in declared[1].split(","))
        return f"[{name}] is there twice; {_TWICE}" if "declare" in fault else f"{name} is complete already, elsewhere"
    if fault.startswith("Cannot overwrite a value"):
        found = _HEAD.match(line)
        if found is not None:
            return f"[{found[1]}] is there twice, or is a key elsewhere; {_TWICE}"
        key = _KEY.match(line)
        return f"{key[1] if key is not None else 'a key'} is there twice"
    return next((meaning for beginning, meaning in _MEANINGS if fault.startswith(beginning)), fault)
