"""Targets: what processes of a cluster tell each other."""

from __future__ import annotations

from fuzz.material import Material
from fuzz.target import Target, same
from minimixproxy.cluster.handover_header import BadHeader, Handover, HeaderReader, HeaderTooLong, build
from tests.cluster.test_handover_header import FULL, PLAINEST, with_tlvs


def _read(pieces: list[bytes]) -> tuple[Handover, bytes] | None:
    """Return what a header says in these pieces, and all behind it; None if it is none."""
    reader = HeaderReader()
    try:
        for number, piece in enumerate(pieces):
            found = reader.feed(piece)
            if found is not None:
                return found[0], found[1] + b"".join(pieces[number + 1 :])
    except BadHeader as error:
        if not str(error):
            raise AssertionError("no reason") from error
    return None


def handover(data: bytes) -> None:
    """A header in any pieces says what it says when it comes whole; and once more when it is built of that."""
    pieces = Material(data).pieces()
    found = _read(pieces)
    same(found, _read([b"".join(pieces)]), "a header in pieces")
    if found is None:
        return
    try:
        again = build(found[0])
    except HeaderTooLong:
        return
    same(_read([again]), (found[0], b""), "a header built anew")


TARGETS = {
    "handover": Target(
        handover,
        tuple(b"\2\x20\xa0" + seed for seed in (build(PLAINEST), build(FULL) + b"<a/>", with_tlvs(VERSION=b"\2"))),
    ),
}
