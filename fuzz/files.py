"""Targets: what stands on disk. The configuration file, rooms and messages as they were kept."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from fuzz.material import Material
from fuzz.target import Target
from fuzz.wire import second_opinion, stanza_of
from minimixproxy.config.settings import ConfigError, Rooms, Settings, load
from minimixproxy.minimix.history.room_history import RoomHistory
from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptMessage, KeptRoom
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.muc_history import HistoryRequest
from tests.minimix.null_journal import NullJournal

_ROOM = "room@muc.test"
_NOW = 1_700_000_000.0


@cache
def _file() -> Path:
    directory = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory, "minimixproxy.toml")


def configuration(data: bytes) -> None:
    """Any file: settings, or an error each of whose lines names the file."""
    path = _file()
    path.write_bytes(data)
    try:
        settings = load(path)
    except ConfigError as error:
        lines = str(error).splitlines()
        if not lines or not lines[0].startswith(f"{path}: "):
            raise AssertionError(f"an error that does not name the file: {error}") from error
        return
    _look_at_settings(settings)


def _look_at_settings(settings: Settings) -> None:
    if not settings.listen and not settings.client_proxy:
        raise AssertionError("settings for nothing")
    _ = settings.directory
    for proxy in settings.client_proxy:
        if not proxy.secret:
            raise AssertionError("a domain without a secret")


_MINIMAL = b'[[listen]]\nendpoint = "tcp:5222"\n[domain."example.org"]\n'
_CONFIGURATIONS = (
    _MINIMAL,
    b'state = "postgresql://u:p@h/d?x=y"\n' + _MINIMAL + b'upstream = "tls:h:5223"\nupstream_trust = "insecure"\n',
    _MINIMAL + b'upstream = "unix:/run/x"\nupstream_proxy_protocol = true\n',
    b'[[client_proxy]]\ndomain = "p.test"\ntarget = ["w@b.test"]\nserver = "tcp:127.0.0.1:5347"\nsecret = "s"\n'
    b"rate = 1e3\n"
    b'allow = ["a.test", "b@c/d"]\npolicy = "sender"\n',
    _MINIMAL
    + b'certificate = "a.pem"\nprivate_key = "b.pem"\n[rooms]\nstay = 0\nfresh = inf\n[limits]\nstanza_size = -1\n',
    b"listen = 3\ndomain = []\nclient_proxy = {}\nrooms = 1979-05-27T07:32:00Z\n",
    b'\xff = "\\ud800"\n',
)


def history(data: bytes) -> None:
    """Messages as they were kept by any version: what can be shown is shown, the rest costs itself."""
    material = Material(data)
    rows = [_row(material, number) for number in range(1, 1 + material.number(5))]
    live = material.number(4)
    pieces = material.rest().split(b"\0")
    kept = KeptRoom(_ROOM, KeptMembership("alice", "alice"))
    for row, raw in zip(rows, pieces, strict=False):
        message = _message(raw)
        if message is None or message.raw == raw:  # nothing is written behind a stanza, and rows have checksums
            row.raw = raw
            kept.messages.append(row)
    room = RoomHistory(_ROOM, Rooms(), NullJournal().room("a@b", _ROOM), kept)
    for raw in pieces[len(rows) : len(rows) + live]:
        message = _message(raw)
        if message is not None:
            room.take(message, _NOW, past=bool(live % 2))
    for wish in (None, HistoryRequest(max_stanzas=3, max_chars=500), HistoryRequest(since=_NOW - 50)):
        for shown in room.select(wish, "phone", _NOW).to("alice@a.test/phone"):
            if _message(shown) is not None:
                second_opinion(shown)
        room.attached("phone")
        room.detached("phone")


def _row(material: Material, number: int) -> KeptMessage:
    return KeptMessage(
        number,
        _NOW - material.number(256),
        b"",
        bool(material.number(2)),
        material.chosen((None, "", "s1", "s2")),
        material.chosen((None, 1, 2, 7)),
        bool(material.number(2)),
    )


def _message(raw: bytes) -> Stanza | None:
    message = stanza_of(raw)
    if message is None or not message.get("from") or not message.readable or message.name != "message":
        return None
    return message


_SAID = b"<message type='groupchat' from='room@muc.test/bob' id='%b'><body>x</body>%b</message>"
_AMENDMENTS = (
    b"<replace xmlns='urn:xmpp:message-correct:0' id='1'/>",
    b"<retract xmlns='urn:xmpp:message-retract:1' id='s1'/>",
    b"<stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.test' id='s1'/>"
    b"<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>",
    b"<apply-to xmlns='urn:xmpp:fasten:0' id='s1'><moderated xmlns='urn:xmpp:message-moderate:0'>"
    b"<retract xmlns='urn:xmpp:message-retract:0'/></moderated></apply-to>",
)
_ROWS = b"\2" + b"\5\0\2\0\0" + b"\3\1\3\1\1"

TARGETS = {
    "configuration": Target(configuration, _CONFIGURATIONS),
    "history": Target(
        history,
        tuple(
            _ROWS
            + b"\2"
            + b"\0".join((_SAID % (b"1", b""), b"<message/>", _SAID % (b"2", amendment), _SAID % (b"3", amendment)))
            for amendment in _AMENDMENTS
        ),
    ),
}
