"""Targets: stanzas as text, into the core. An account, a domain of client_proxy, and what reads their payloads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fuzz.logged import no_faults_logged
from fuzz.material import Material
from fuzz.target import Target, same
from fuzz.wire import second_opinion, stanza_of
from minimixproxy.clientproxy.requests import Origin
from minimixproxy.minimix.history.archive_query import UnusableQuery, read_query
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.xep.bookmarks import Bookmark, read_items, read_storage, storage_with, with_autojoin
from minimixproxy.xep.data_forms import BadForm, Field, Form
from minimixproxy.xep.registration import request_of
from tests.clientproxy.scene import ALICE, COMPONENT, DOMAIN, TARGET, Scene
from tests.minimix import fakes
from tests.minimix.fakes import ROOM, STREAM, World

_NS_DATA = "jabber:x:data"
_BOUNDARY = b"\n\n"  # between stanzas


def bookmarks(data: bytes) -> None:
    """An answer of a server with bookmarks in it: each that is read can be written, and is then the same."""
    answer = stanza_of(data)
    if answer is None or not answer.readable:
        return
    found = read_items(answer)
    for bookmark in (*found.rooms.values(), *read_storage(answer).rooms.values()):
        _look_at_bookmark(bookmark)
    storage = read_storage(answer).storage
    for bookmark in found.rooms.values():
        second_opinion(storage_with(storage or b"", bookmark))


def _look_at_bookmark(bookmark: Bookmark) -> None:
    changed = with_autojoin(bookmark, not bookmark.autojoin)
    pubsub = (
        b"<iq><pubsub xmlns='http://jabber.org/protocol/pubsub'><items><item id='x@y'>%b</item></items></pubsub></iq>"
    )
    if b"urn:xmpp:bookmarks:1" not in changed.xml:
        second_opinion(changed.xml)
        return
    (again,) = read_items(parse_stanza(pubsub % changed.xml)).rooms.values() or (None,)
    if again is not None:
        told = again.autojoin, again.nick, again.password
        same(told, (not bookmark.autojoin, bookmark.nick, bookmark.password), "written")


_FORM = Form(
    "title",
    "instructions",
    (
        Field("a", "list-multi", options=(("1", "one"), ("2", "two"))),
        Field("b", "list-single", options=(("x", "y"),)),
        Field("c", "boolean"),
    ),
)


def forms(data: bytes) -> None:
    """A submitted form, a question to an archive, a request for registration: read, or refused as it is to be."""
    iq = stanza_of(data)
    if iq is None or not iq.readable:
        return
    _refusing(BadForm, lambda: [_FORM.filled(_FORM.read(form)).to_bytes() for form in iq.elements(_NS_DATA, "x")])
    for query in iq.elements("urn:xmpp:mam:2", "query"):
        _refusing(UnusableQuery, partial(read_query, query, ROOM))
    request = request_of(iq, "example.org")
    if request is not None and (refusal := request.fault()) is None:
        second_opinion(request.for_server("1", "example.org"))
        _ = request.makes, request.username, request.is_try
        second_opinion(request.answered(iq))
    elif request is not None and refusal is not None:
        second_opinion(refusal)


def _refusing(error: type[Exception], read: Callable[[], object]) -> None:
    try:
        read()
    except error as refusal:
        str(refusal)


def account(data: bytes) -> None:
    """An account with two clients in a room: whatever well-formed thing they, its server and the room say."""
    material = Material(data)
    fakes.written = fakes.split  # what peers write is passed on as it is
    world = World(bookmarks="follow")
    phone, laptop = world.joined("phone", "laptop")
    ways = [material.number(8) for _number in range(material.number(8))]
    with no_faults_logged():
        for way, raw in zip(ways, material.rest().split(_BOUNDARY), strict=False):
            stanza = stanza_of(raw)
            if stanza is None or stanza.name not in ("iq", "message", "presence"):
                continue
            if way == 0 and phone.closed is None:
                world.account.from_client(phone, stanza)
            elif way == 1 and laptop.closed is None:
                world.account.from_server(laptop, stanza)
            elif way > 2:
                world.stream.says(stanza)
            world.clock.advance(way)
        world.asks_to_join(world.session("tablet"))
        world.clock.advance(300)
        world.stream.lost()


def component(data: bytes) -> None:
    """A domain of client_proxy with two resources: whatever well-formed thing its server delivers."""
    material = Material(data)
    scene = Scene()
    scene.strict = False
    scene.online("one", "two")
    waits = [material.number(64) for _number in range(material.number(8))]
    with no_faults_logged():
        for wait, raw in zip(waits, material.rest().split(_BOUNDARY), strict=False):
            stanza = _of_component(raw)
            if stanza is not None:
                scene.deliver(stanza)
            scene.pass_time(wait)
            scene.sent()
        scene.pass_time(120)
    if any(request.origin is not Origin.OURSELVES for request in scene.domain.requests.all()):
        raise AssertionError("somebody still waits")
    scene.sent()


def _of_component(raw: bytes) -> Stanza | None:
    stanza = stanza_of(raw, COMPONENT)
    if stanza is None or stanza.name not in ("iq", "message", "presence") or not stanza.readable:
        return None
    return stanza


_CONFERENCE = (
    b"<conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'>"
    b"<nick>n</nick><password>p</password><x xmlns='y'/></conference>"
)
_BOOKMARKS = (
    b"<iq type='result'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'>"
    b"<item id='room@muc.test'>%b</item></items></pubsub></iq>" % _CONFERENCE,
    b"<iq type='result'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>"
    b"<conference jid='a@b' autojoin='1' name='c'><nick>n</nick></conference><url url='u'/></storage></query></iq>",
)
_FORMS = (
    b"<iq type='set' id='1'><x xmlns='jabber:x:data' type='submit'><field var='a'><value>1</value></field>"
    b"<field var='b'><value>x</value></field><field var='c'><value>true</value></field></x></iq>",
    b"<iq type='set' id='1'><query xmlns='urn:xmpp:mam:2' queryid='q'><x xmlns='jabber:x:data' type='submit'>"
    b"<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>"
    b"<field var='start'><value>2020-01-01T00:00:00Z</value></field>"
    b"<field var='with'><value>a@b/c</value></field></x><set xmlns='http://jabber.org/protocol/rsm'><max>10</max>"
    b"<before/></set></query></iq>",
    b"<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>u</username>"
    b"<password>p</password></query></iq>",
)
_TO_ACCOUNT = (
    f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}' id='1'><body>x</body></message>",
    f"<presence from='{ROOM}/bob' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/>"
    "<status code='110'/></x></presence>",
    f"<presence type='unavailable' from='{ROOM}/alice'><x xmlns='http://jabber.org/protocol/muc#user'><item nick='c'/>"
    "<status code='303'/><status code='110'/></x></presence>",
    f"<iq type='get' id='1' to='{ROOM}/bob'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    f"<iq type='set' id='1' to='{STREAM}'><command xmlns='http://jabber.org/protocol/commands' node='leave'/></iq>",
    f"<presence type='error' from='{ROOM}/alice'><error type='cancel'><conflict/></error></presence>",
)
_TO_DOMAIN = (
    f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'><query xmlns='jabber:iq:private'/></iq>",
    f"<iq type='set' id='2' from='{ALICE}' to='{DOMAIN}'>"
    "<command xmlns='http://jabber.org/protocol/commands' node='x'/></iq>",
    f"<iq type='set' id='3' from='{TARGET}/one' to='{DOMAIN}/{ALICE}'>"
    "<open xmlns='http://jabber.org/protocol/ibb' sid='s'/></iq>",
    f"<message from='{ALICE}' to='{DOMAIN}'><data xmlns='http://jabber.org/protocol/ibb' sid='s' seq='0'/></message>",
    f"<presence from='{TARGET}/one' to='{DOMAIN}'><show>dnd</show><priority>-1</priority></presence>",
    f"<presence type='unsubscribed' from='{TARGET}' to='{DOMAIN}'/>",
    f"<iq type='result' id='x' from='{TARGET}/one' to='{DOMAIN}/{ALICE}'/>",
)


def _together(ways: bytes, stanzas: tuple[str, ...]) -> tuple[bytes, ...]:
    count = bytes((len(ways),))
    orders = (stanzas, stanzas[::-1], stanzas[2:] + stanzas[:2])
    return tuple(count + ways + _BOUNDARY.join(stanza.encode() for stanza in order) for order in orders)


TARGETS = {
    "bookmarks": Target(bookmarks, _BOOKMARKS),
    "forms": Target(forms, _FORMS),
    "account": Target(
        account, (*_together(b"\4\4\4\0\0\4\4", _TO_ACCOUNT), *_together(b"\0\4\1\0\4\0\1", _TO_ACCOUNT))
    ),
    "component": Target(component, _together(b"\0\1\0\6\0\7\0", _TO_DOMAIN)),
}
