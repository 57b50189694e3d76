"""Targets: what strangers and servers say on the way to a session: SASL on both sides, negotiation, upstream."""

from __future__ import annotations

import atexit
import hmac
import re
import shutil
import tempfile
from base64 import b64decode, b64encode
from functools import cache
from pathlib import Path
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.words.protocols.jabber.jid import JID
from twisted.words.protocols.jabber.xmlstream import Authenticator

from fuzz.logged import no_faults_logged
from fuzz.material import Material
from fuzz.target import Target
from fuzz.wire import second_opinion
from minimixproxy.c2s.errors import UpstreamError, UpstreamRefused
from minimixproxy.c2s.session import resumable
from minimixproxy.c2s.session.client_session import ClientSession
from minimixproxy.c2s.upstream.binding import Own
from minimixproxy.c2s.upstream.connecting import bind_resource, open_stream, server_framing
from minimixproxy.c2s.upstream.conversation import Conversation
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.c2s.upstream.offer import choose, read_offer
from minimixproxy.c2s.upstream.sasl import SaslExchange
from minimixproxy.c2s.upstream.sasl_channel import SaslChannel
from minimixproxy.config.settings import Limits
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import Challenge, ScramError, ScramKeys
from minimixproxy.sasl.scram_client import ScramClient
from minimixproxy.sasl.scram_server import ScramServer, read_client_first
from minimixproxy.sasl.tokens import Device, Token, mark_of
from minimixproxy.wire.events import Fault
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.sasl import SaslFailure, account_key, check_authzid, decoded, failure, parse_plain
from tests.c2s.helpers import BIND, HEADER, SERVER_FEATURES, SERVER_HEADER, HandedServer, Lab, LabClient, plain
from tests.wires import Wire

_NONCE = "fyko+d2lbbFgONRv9qkxdawL"
_FIRST = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
_KEYS = ScramKeys(b"k" * 32, b"s" * 32)
_SASL, _SASL2 = b"urn:ietf:params:xml:ns:xmpp-sasl", b"urn:xmpp:sasl:2"
_KNOWN = Keys.from_scram("sha256", Challenge(b"salt", 4096), _KEYS)
_DEVICE, _SECRET, _OTHERS_SESSION = "d4565fa7-4d72-4749-b3d3-740edbf87770", "a-token", "session-of-b"


def plain_message(data: bytes) -> None:
    """The text of a PLAIN message: three fields, or a failure that can be written."""
    try:
        message = parse_plain(decoded(data.decode("utf-8", "ignore")))
        if "\0" in message.username + message.password + message.authzid or not message.username:
            raise AssertionError("a field is not what it can be")
        account_key(message.username, "example.org")
        check_authzid(message.authzid, message.username, "example.org")
    except SaslFailure as refusal:
        second_opinion(failure(refusal.condition, refusal.text))


def scram(data: bytes) -> None:
    """What a server says during SCRAM: keys are asked for within bounds, and nobody proves himself without them."""
    first, _newline, last = data.partition(b"\n")
    client = ScramClient("SCRAM-SHA-256", "user", _NONCE)
    client.first()
    try:
        challenge = client.challenge(first)
    except ScramError:
        return
    if not (4096 <= challenge.iterations <= 10_000_000 and 0 < len(challenge.salt) <= 1024):
        raise AssertionError("a challenge out of bounds")
    client.final(_KEYS)
    try:
        client.verify(last)
    except ScramError:
        return
    raise AssertionError("a server proved itself without the keys")


def scram_client(data: bytes) -> None:
    """What a client says during SCRAM: read or refused, and nobody proves himself without the keys."""
    first, _newline, last = data.partition(b"\n")
    offered = Offered(("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), ("tls-exporter",))
    mechanism = "SCRAM-SHA-256-PLUS" if first.startswith(b"p") else "SCRAM-SHA-256"
    try:
        said = read_client_first(first)
        server = ScramServer(mechanism, said, {"tls-exporter": b"e" * 32}, offered, "fixed")
    except ScramError:
        return
    if said.gs2 + said.bare != first or not said.username:
        raise AssertionError("a message that was read otherwise than it came")
    server.challenge(Challenge(b"salt", 4096))
    try:
        server.check(last, b"k" * 32, b"s" * 32)
    except ScramError:
        return
    raise AssertionError("a client proved itself without the keys")


# A client up to its session


@cache
def _directory() -> Path:
    directory = tempfile.mkdtemp(prefix="fuzz-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


@cache
def _lab() -> Lab:
    lab = Lab(_directory(), authentication_timeout=60.0, registration=True, logins=("SCRAM", "PLAIN"))
    lab.known_keys.keys["a@example.org"] = (_KNOWN,)
    features = parse_stanza(
        "<features xmlns='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
        "<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms></features>"
    )
    lab.context.offers.learned(lab.context.domains["example.org"], features)
    return lab


def negotiate(data: bytes) -> None:
    """Whatever a stranger sends, in any pieces, while the server accepts, refuses or says something in between.

    It may have a token of one account, and know the id of another one's session, which sleeps.
    """
    lab = _lab()
    victim = _victim(lab)
    _give_token(lab)
    material = Material(data)
    secure = bool(material.number(4))
    client = lab.client(secure=secure)
    answered = b""
    with no_faults_logged():
        for piece in material.pieces():
            answered += client.send(piece)
            answered += _serve(lab, client)
        _check_who(lab, victim)
        client.vanish()
        lab.clock.advance(3600)
    lab.handed.clear()
    lab.logins.clear()
    lab.contacts.clear()
    lab.accounts.bound.clear()
    if secure:
        _check_stream(answered)


def _victim(lab: Lab) -> ClientSession:
    """A session of `b` that sleeps. Nobody can log in as that."""
    client = lab.client()
    session = client.bind("b")
    with patch.object(resumable, "token_urlsafe", lambda _size: _OTHERS_SESSION):
        client.send(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
    client.vanish()
    return session


def _give_token(lab: Lab) -> None:
    """A device of `a` has one, and no others."""
    lab.tokens.withdraw("a@example.org")
    now = lab.clock.seconds()
    known = lab.known_keys.keys["a@example.org"] = (_KNOWN,)
    token = Token(_SECRET, "HT-SHA-256-NONE", mark_of(known[0]), now, now + 86400)
    lab.tokens.put("a@example.org", Device(_DEVICE, "", now), (token,))


def _check_who(lab: Lab, victim: ClientSession) -> None:
    """Everybody is who he has proved to be."""
    if any(server.over == "in" for server in lab.handed):
        raise AssertionError("somebody has logged in who has proved nothing")
    if not victim.asleep or lab.resumable.find(_OTHERS_SESSION, "b@example.org") is None:
        raise AssertionError("a session of somebody else")
    for login, _waiting in lab.logins:
        if login.credential.password is None and login.own.bare != "a@example.org":
            raise AssertionError("a token of somebody else")
    if any(account != "a@example.org" for account, _device in lab.tokens.tokens):
        raise AssertionError("a token for somebody else")


def _serve(lab: Lab, client: LabClient) -> bytes:
    """The server takes the user name for what it is to do."""
    lab.clock.advance(0)  # with SASL2 it is gone about in the next turn
    for login, waiting in lab.logins:
        if waiting.called:
            continue
        if login.username.startswith("a"):
            client.accept_login()
        else:
            waiting.errback(UpstreamRefused("not-authorized"))
    for server in lab.handed:
        _challenge(server)
    lab.clock.advance(0)
    answered = b""
    while client.server is not None and (asked := client.upstream.take()):
        if b"<stream:stream" in asked:
            answered += client.serve(SERVER_HEADER + SERVER_FEATURES)
        for request_id in re.findall(rb"<iq type='set' id='([0-9a-f]{16})'><(?:bind|enable) ", asked):
            account = lab.logins[-1][0].own.bare.encode() if lab.logins else b"a@example.org"
            bind = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b/r</jid></bind>" % account
            answered += client.serve(b"<iq type='result' id='%b'>%b</iq>" % (request_id, bind))
    return answered + client.wire.take()


def _challenge(server: HandedServer) -> None:
    """The server knows every account that begins with an a, and refuses what anybody proves."""
    while server.sent and server.over is None:
        asked = parse_stanza(server.sent.pop(0))
        nonce = re.findall(rb",r=([^,]*)", b64decode(str(asked.element))) if asked.name == "auth" else []
        known = nonce and b"n=a" in b64decode(str(asked.element))
        server.says(_challenge_with(b"r=%bserver,s=c2FsdA==,i=4096" % nonce[0]) if known else _FAILURE)


def _challenge_with(data: bytes) -> bytes:
    return b"<challenge xmlns='%b'>%b</challenge>" % (_SASL, b64encode(data))


def _check_stream(answered: bytes) -> None:
    """What a client gets is well-formed, stream by stream."""
    for stream in answered.split(b"<?xml version='1.0'?>"):
        events = Framer().feed(stream)
        for event in events:
            if isinstance(event, Fault):
                raise AssertionError(f"a client gets {stream!r}: {event}")
            if isinstance(event, Stanza):
                second_opinion(event.self_contained())


# A server's side of the account stream


def upstream(data: bytes) -> None:
    """Whatever a server says while the account stream logs in, opens and binds: a stream, or an error of its kind."""
    material = Material(data)
    mechanism = material.chosen(("PLAIN", "SCRAM-SHA-256"))
    stream = FramedXmlStream(Authenticator(), server_framing(Limits()))
    stream.namespace = "jabber:client"
    stream.otherEntity = JID("example.org")  # type: ignore[assignment]
    wire = Wire()
    stream.makeConnection(wire)
    with no_faults_logged():
        attempt = Deferred.fromCoroutine(_log_in(stream, mechanism))
        outcome: list[object] = []
        attempt.addBoth(outcome.append)
        for piece in material.pieces():
            asked = re.findall(rb"<iq type='set' id='(\w+)'>", wire.value())
            stream.dataReceived(piece.replace(b"id='?'", b"id='%b'" % asked[-1]) if asked else piece)
        attempt.cancel()
    found = outcome[0] if outcome else None
    error = getattr(found, "value", None)
    if error is not None and not isinstance(error, UpstreamError) and type(error).__name__ != "CancelledError":
        raise AssertionError("another exception") from error


async def _log_in(stream: FramedXmlStream, mechanism: str) -> str:
    password = Credential.from_password("secret")
    keys = Credential.from_keys("sha256", Challenge(b"A%\xc2G\xe4:\xb1\xe9<m\xffv", 4096), _KEYS)
    credential = password if mechanism == "PLAIN" else keys
    with Conversation(stream) as conversation:
        await conversation.header()
        features = await conversation.element()
        offer = read_offer(features, {"tls-exporter": b"e" * 32, "tls-server-end-point": b"p" * 32})
        chosen = choose(offer, credential)
        exchange = SaslExchange(SaslChannel(stream.send, conversation.element, offer), "a", credential)
        if chosen.mechanism == "PLAIN":
            await exchange.plain()
        else:
            await exchange.scram(chosen, KeyCache(lambda *_arguments: Deferred()), "a@example.org", offer.offered)
        conversation.restart()
    await open_stream(stream)
    return await bind_resource(stream, Own("a@example.org", "example.org"))


def _mechanisms(*names: bytes) -> bytes:
    offered = b"".join(b"<mechanism>%b</mechanism>" % name for name in names)
    return SERVER_HEADER + b"<stream:features><mechanisms xmlns='%b'>%b</mechanisms></stream:features>" % (
        _SASL,
        offered,
    )


_BINDING = _mechanisms(b"SCRAM-SHA-256-PLUS").replace(
    b"<mechanisms",
    b"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>"
    b"</sasl-channel-binding><mechanisms",
)
_SUCCESS = b"<success xmlns='%b'/>" % _SASL
_CHALLENGE = b"<challenge xmlns='%b'>%b</challenge>" % (_SASL, b64encode(_FIRST))
_FAILURE = b"<failure xmlns='%b'><not-authorized/><text>no</text></failure>" % _SASL
_OPENED = SERVER_HEADER + SERVER_FEATURES
_BOUND = (
    b"<iq type='result' id='?' from='a@example.org'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
    b"<jid>a@example.org/r</jid></bind></iq>"
)
_NAMED = HEADER.replace(b" to=", b" from='a@example.org' to=")
_SCRAM_RESPONSE = b"<response xmlns='%b'>%b</response>" % (
    _SASL,
    b64encode(b"c=biws,r=xserver,p=" + b64encode(b"x" * 32)),
)


def _scram_auth(first: bytes) -> bytes:
    return b"<auth xmlns='%b' mechanism='SCRAM-SHA-256'>%b</auth>" % (_SASL, b64encode(first))


def _authenticate(mechanism: bytes, message: bytes, inline: bytes = b"") -> bytes:
    return (
        b"<authenticate xmlns='%b' mechanism='%b'><initial-response>%b</initial-response>"
        b"<user-agent id='%b'><software>S</software></user-agent>%b</authenticate>"
    ) % (_SASL2, mechanism, b64encode(message), _DEVICE.encode(), inline)


_BIND2 = (
    b"<bind xmlns='urn:xmpp:bind:0'><tag>T</tag><enable xmlns='urn:xmpp:carbons:2'/>"
    b"<enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>"
)
_RESUME = b"<resume xmlns='urn:xmpp:sm:3' previd='%b' h='0'/>" % _OTHERS_SESSION.encode()
_WANTED = b"<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
_USED = b"<fast xmlns='urn:xmpp:fast:0' count='1'/>"
_PROOF = b"\0" + hmac.digest(_SECRET.encode(), b"Initiator", "sha256")
_LOGIN = HEADER + plain() + HEADER + BIND
_REGISTER = b"<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>"

TARGETS = {
    "sasl": Target(
        plain_message,
        (*map(b64encode, (b"\0a\0b", b"a@example.org\0a\0b", b"\0\xff\0b", b"\0a\0b\0c")), b"=", b"a="),
    ),
    "scram": Target(
        scram, (_FIRST + b"\nv=" + b64encode(b"x" * 32), _FIRST + b"\ne=other-error", b"m=x," + _FIRST, b"r=x,s=,i=1")
    ),
    "scram_client": Target(
        scram_client,
        (
            b"n,,n=user,r=abc\nc=biws,r=abcfixed,p=" + b64encode(b"x" * 32),
            b"p=tls-exporter,a=u=2Cser,n=u=3Dser,r=abc,x=y\nc="
            + b64encode(b"p=tls-exporter,a=u=2Cser," + b"e" * 32)
            + b",r=abcfixed,x=y,p="
            + b64encode(b"x" * 32),
        ),
    ),
    "negotiation": Target(
        negotiate,
        (
            b"\1\3\x50\xa0\xf0" + _LOGIN,
            b"\1\1\x50" + HEADER + plain("b") + plain("a") + HEADER,
            b"\0\0" + HEADER + b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            b"\1\1\x60" + HEADER + _REGISTER,
            b"\1\3\x50\x60\x70" + _NAMED + _scram_auth(b"n,,n=a,r=x") + _SCRAM_RESPONSE,
            b"\1\3\x50\x60\x70" + _NAMED + _scram_auth(b"n,,n=b,r=x") + _SCRAM_RESPONSE,
            b"\1\3\x50\x60\x70" + HEADER + _scram_auth(b"y,a=a@example.org,n=ab,r=x") + _SCRAM_RESPONSE,
            b"\1\3\x50\x60\x70" + _NAMED + _scram_auth(b"n,,n=a,r=x") + b"<abort xmlns='%b'/>" % _SASL,
            b"\1\3\x50\xa0\xf0" + HEADER + _authenticate(b"PLAIN", b"\0a\0b", _BIND2 + _WANTED),
            b"\1\3\x50\xa0\xf0" + HEADER + _authenticate(b"PLAIN", b"\0ab\0b", _RESUME + _BIND2 + _WANTED),
            b"\1\3\x50\xa0\xf0" + HEADER + _authenticate(b"HT-SHA-256-NONE", b"a" + _PROOF, _USED + _RESUME + _BIND2),
            b"\1\3\x50\xa0\xf0" + HEADER + _authenticate(b"HT-SHA-256-NONE", b"b" + _PROOF, _USED + _RESUME + _WANTED),
            b"\1\3\x50\xa0\xf0" + _NAMED + 2 * _authenticate(b"HT-SHA-256-NONE", b"a" + _PROOF, _USED) + BIND,
            b"\1\3\x50\x60\x70"
            + _NAMED
            + _authenticate(b"SCRAM-SHA-256", b"n,,n=a,r=x", _BIND2)
            + b"<abort xmlns='%b'/>" % _SASL2,
            b"\1\2\x60\x70"
            + HEADER
            + b"<auth xmlns='%b' mechanism='PLAIN'/><response xmlns='%b'>=</response>" % (_SASL, _SASL),
        ),
    ),
    "upstream": Target(
        upstream,
        (
            b"\0\4\x50\x60\xa0\xd0" + _mechanisms(b"PLAIN") + _SUCCESS + _OPENED + _BOUND,
            b"\1\4\x50\x60\xa0\xd0" + _mechanisms(b"SCRAM-SHA-256") + _CHALLENGE + _SUCCESS + _OPENED + _BOUND,
            b"\0\1\x50" + _mechanisms(b"PLAIN", b"SCRAM-SHA-1") + _FAILURE,
            b"\1\4\x50\x60\xa0\xd0" + _BINDING + _CHALLENGE + _SUCCESS + _OPENED + _BOUND,
            b"\0\1\x50"
            + SERVER_HEADER
            + b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        ),
    ),
}
