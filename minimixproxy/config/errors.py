"""Validation errors as lines for whoever wrote the file: the key as written there, then what is allowed."""

import difflib
import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

SECRET_KEYS = {"secret", "state"}
PLAIN_TYPES = {
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "string_too_short": "must not be empty",
    "missing": "is missing",
}


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each fault."""
    return [_line(details, model) for details in error.errors(include_url=False)]


def _line(details: ErrorDetails, model: type[BaseModel]) -> str:
    unknown = details["type"] == "extra_forbidden"
    location = _location(details["loc"], unknown)
    place = f"[{location[0]}]" if len(location) == 1 and isinstance(details["input"], dict) else written(location)
    if unknown and len(location) == 3 and location[0] == "domain" and isinstance(details["input"], dict):
        return _unquoted(f"{location[1]}.{location[2]}", details["input"])
    if unknown:
        return f"{place}: {_unknown(str(location[-1]), _model_at(location[:-1], model))}"
    text = _allowed(details)
    return f"{place}: {text}" if location else text


def _unquoted(name: str, table: dict[str, Any]) -> str:
    """TOML takes a dot without quotation marks for the beginning of another table."""
    while len(table) == 1 and isinstance(inner := next(iter(table.values())), dict):
        name, table = f"{name}.{next(iter(table))}", inner
    return f'[domain.{name}]: the name needs quotation marks: [domain."{name}"]'


def _location(parts: tuple[int | str, ...], unknown: bool) -> list[int | str]:
    """Return the keys of a place, as in the file: tables, names of domains and unknown keys look like anything."""
    written_so = {0, len(parts) - 1 if unknown else 0, 1 if parts[:1] == ("domain",) else 0}
    return [part for number, part in enumerate(parts) if number in written_so or _is_key(part)]


def _is_key(part: int | str) -> bool:
    """Pydantic also names the branches of a union, such as "literal['system']": those are not in the file."""
    return isinstance(part, int) or not part.startswith(("literal[", "function-", "nullable", "lax-or-strict", "is-"))


def written(location: list[int | str]) -> str:
    """A key path as in the file: ("listen", 0, "tls") is `[[listen]] #1 tls`."""
    match location:
        case [str(table), int(index), *keys]:
            head = f"[[{table}]] #{index + 1}"
        case ["domain", str(name), *keys]:
            head = f"[domain.{json.dumps(name, ensure_ascii=False)}]"
            keys = [key for key in keys if key != "name"]  # its name is in the head
        case [str(table), str(first), *rest]:
            head, keys = f"[{table}]", [first, *rest]
        case _:
            return " ".join(map(str, location))
    return " ".join([head, *(str(key) for key in keys if isinstance(key, str))])


def _allowed(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "value_error":
        return details["msg"].removeprefix("Value error, ")
    text = PLAIN_TYPES.get(kind) or details["msg"].replace("Input should be", "must be").replace("'", '"')
    if kind == "missing" or (details["loc"] and details["loc"][-1] in SECRET_KEYS):
        return text
    return f"{text}, not {_shown(details['input'])}"


def _shown(value: Any) -> str:
    """The refused value as TOML would have it, if that is short."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    return json.dumps(value, ensure_ascii=False, default=str)[:80]


def _unknown(key: str, model: type[BaseModel] | None) -> str:
    known = sorted(_keys(model)) if model else []
    nearest = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"unknown key{hint} Known: {', '.join(known)}" if hint else f"unknown key; known: {', '.join(known)}"


def _keys(model: type[BaseModel]) -> Iterator[str]:
    return (name for name, field in model.model_fields.items() if not field.exclude)


def _model_at(location: list[int | str], model: type[BaseModel]) -> type[BaseModel] | None:
    """The model of the table at this place."""
    if not location:
        return model
    field = model.model_fields.get(str(location[0]))
    return _model_in(field.annotation) if field else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _model_in(argument))), None)
