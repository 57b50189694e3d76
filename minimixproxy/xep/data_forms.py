"""Data forms (XEP-0004): read; asked by commands, and read again when submitted; tables of results. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from twisted.words.xish import domish

from minimixproxy.namespaces import NS_DATA
from minimixproxy.wire.stanza import escape, optional_attribute

_TRUE, _FALSE = ("1", "true"), ("0", "false")  # XEP-0004 §3.3

#: What was submitted: values by field.
Values = Mapping[str, tuple[str, ...]]


def fields_of(form: domish.Element) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield name and values of each field, in order, as they were sent: a name may come twice, or be ""."""
    for field in form.elements(NS_DATA, "field"):
        yield field.getAttribute("var", ""), tuple(str(value) for value in field.elements(NS_DATA, "value"))


def submission(form_type: str, fields: Mapping[str, str]) -> bytes:
    """Return the `<x type='submit'/>` of a form of that `FORM_TYPE` (XEP-0068), one value for each field."""
    hidden = b"<field var='FORM_TYPE' type='hidden'>%b</field>" % _values((form_type,))
    others = b"".join(b"<field var='%b'>%b</field>" % (escape(var), _values((value,))) for var, value in fields.items())
    return b"<x xmlns='%b' type='submit'>%b%b</x>" % (NS_DATA.encode(), hidden, others)


class BadForm(ValueError):
    """A submitted form lacks what is required, or holds what was not on offer. `str()` says which."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form. `kind` is its type in XEP-0004 §3.3; `options` are pairs of value and label."""

    var: str
    kind: str
    label: str = ""
    values: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    required: bool = True

    def read(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return the values as they count: only what was on offer, each once. Raises `BadForm`."""
        values = tuple(dict.fromkeys(value for value in values if value))
        if self.kind == "boolean":
            return (self._truth(values),)
        if self.kind == "text-private":
            return self._text(values)
        offered = {value for value, _label in self.options}
        unknown = next((value for value in values if value not in offered), None)
        if unknown is not None:
            raise BadForm(f"{self.var}: {unknown[:100]!r} is not among the options")
        if self.required and not values:
            raise BadForm(f"{self.var} is required")
        if self.kind == "list-single" and len(values) > 1:
            raise BadForm(f"{self.var} takes one value")
        return values

    def _text(self, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(values) > 1 or (self.required and not values):
            raise BadForm(f"{self.var} takes one value")
        return values

    def _truth(self, values: tuple[str, ...]) -> str:
        if not values or values[0] in _FALSE:
            return "0"
        if values[0] in _TRUE and len(values) == 1:
            return "1"
        raise BadForm(f"{self.var} is neither true nor false")

    def to_bytes(self) -> bytes:
        """Return the `<field/>`."""
        inner = _values(self.values)
        inner += b"".join(
            b"<option%b>%b</option>" % (optional_attribute("label", label), _values((value,)))
            for value, label in self.options
        )
        if self.required:
            inner += b"<required/>"
        var = optional_attribute("var", self.var or None)
        label = optional_attribute("label", self.label or None)
        return b"<field%b type='%b'%b>%b</field>" % (var, self.kind.encode(), label, inner)


@dataclass(frozen=True, slots=True)
class Form:
    """A form to fill in."""

    title: str
    instructions: str
    fields: tuple[Field, ...]

    def to_bytes(self) -> bytes:
        """Return the `<x type='form'/>`."""
        fields = b"".join(field.to_bytes() for field in self.fields)
        return _x(b"form", self.title, b"<instructions>%b</instructions>%b" % (escape(self.instructions), fields))

    def read(self, submitted: domish.Element) -> Values:
        """Return what was submitted for the fields of this form; others are ignored. Raises `BadForm`."""
        given = dict(fields_of(submitted))
        return {field.var: field.read(given.get(field.var, ())) for field in self.fields if field.kind != "fixed"}

    def filled(self, values: Values) -> Form:
        """Return the form as it is shown again, with what was submitted before, but for what is private."""
        fields = tuple(
            field if field.kind == "text-private" else replace(field, values=values.get(field.var, field.values))
            for field in self.fields
        )
        return replace(self, fields=fields)


def fixed(text: str) -> Field:
    """Return a field that only says something."""
    return Field("", "fixed", values=(text,), required=False)


def table(title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> bytes:
    """Return an `<x type='result'/>` with one `<item/>` for each row; columns are pairs of name and label."""
    reported = b"".join(
        b"<field var='%b' type='text-single' label='%b'/>" % (escape(var), escape(label)) for var, label in columns
    )
    items = b"".join(
        b"<item>%b</item>"
        % b"".join(
            b"<field var='%b'>%b</field>" % (escape(var), _values((value,)))
            for (var, _label), value in zip(columns, row, strict=True)
        )
        for row in rows
    )
    return _x(b"result", title, b"<reported>%b</reported>%b" % (reported, items))


def _x(kind: bytes, title: str, inner: bytes) -> bytes:
    return b"<x xmlns='%b' type='%b'><title>%b</title>%b</x>" % (NS_DATA.encode(), kind, escape(title), inner)


def _values(values: Iterable[str]) -> bytes:
    return b"".join(b"<value>%b</value>" % escape(value) for value in values)
