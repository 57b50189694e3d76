"""The sessions that can be resumed (XEP-0198 §5), those that sleep, and what is left of those that are over."""

from __future__ import annotations

from collections.abc import Callable, Collection
from secrets import token_urlsafe
from typing import NamedTuple, Protocol

from minimixproxy.c2s.session.ended_sessions import EndedSessions
from minimixproxy.c2s.session.repeats import Repeats
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.config.settings import Sessions
from minimixproxy.counting.resumptions import RESUMPTIONS
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.events import Event
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import stream_management as sm


class HandedOver(NamedTuple):
    """A client that a session has given to another one: its wire, what it said that is not handled, and its login."""

    client: ClientStream
    events: list[Event]
    pieces: list[bytes]  # behind the events
    login: Login  # with which it has logged in
    device: str  # the id of the client's installation (XEP-0388), "" if it has not said one


class NotResumable(Exception):
    """A client cannot go on with what it has asked for. `answer`: for it."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Resumable(Protocol):
    """A session, as it is kept here."""

    @property
    def account(self) -> str:
        """The account's bare JID, prepared."""

    @property
    def jid(self) -> str:
        """The full JID, as the server spelled it."""

    @property
    def device(self) -> str:
        """The id of its client's installation (XEP-0388), "" if it has not said one."""

    @property
    def asleep(self) -> bool:
        """Whether it has no connection to its client."""

    @property
    def handled(self) -> int:
        """How many stanzas of its client are handled, as the client counts."""

    def has_all_behind(self, h: int) -> bool:
        """Whether all is kept that a client which has handled so many stanzas would be sent again."""

    def resume(self, h: int, hand_over: Callable[[], HandedOver], words: Callable[[bytes], bytes]) -> None:
        """Go on with another connection, whose client has handled so many stanzas. Raises `NotSent`.

        `hand_over`: returns the connection; it is called once nothing can fail any more. `words`: makes what the client
        is told of the answer to `<resume/>`.
        """

    def close(self, condition: str, text: str = "") -> None:
        """End it."""


class ResumableSessions:
    """One per service. An id is secret, and counts only together with a login of its account."""

    log = Logger()

    def __init__(self, settings: Sessions) -> None:
        self.settings = settings
        self._sessions: dict[str, Resumable] = {}
        self._asleep: dict[str, dict[str, Resumable]] = {}  # by account and id, the longest first
        self._devices: dict[tuple[str, str], str] = {}  # the id of a session by its account, and `_device_of`
        self._named: dict[str, tuple[str, str]] = {}  # the other way round
        self._ended = EndedSessions()
        self.repeats = Repeats()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def sleeping(self) -> int:
        """How many sleep."""
        return sum(map(len, self._asleep.values()))

    def add(self, session: Resumable) -> str:
        """Return the id by which a session can be resumed. One that the same device has left ends (XEP-0386 §3.2)."""
        session_id = token_urlsafe(16)
        device = session.account, _device_of(session)
        if device[1]:
            former = self._sessions.get(self._devices.get(device, ""))
            if former is not None:
                self.log.info("session of {jid} ends: its device has begun another one", jid=former.jid)
                former.close("conflict", "your device has begun another session")
        self._sessions[session_id] = session
        self.named(session_id, session)
        return session_id

    def restore(self, session_id: str, session: Resumable) -> None:
        """Another process had a session under that id."""
        self._sessions[session_id] = session
        self.named(session_id, session)

    def named(self, session_id: str, session: Resumable) -> None:
        """A session has a device, or another one than before."""
        self._unnamed(session_id)
        device = session.account, _device_of(session)
        if device[1] and session_id in self._sessions:
            self._devices[device], self._named[session_id] = session_id, device

    def _unnamed(self, session_id: str) -> None:
        device = self._named.pop(session_id, None)
        if device is not None and self._devices.get(device) == session_id:
            del self._devices[device]

    def asked(self, resume: Stanza, account: str) -> tuple[Resumable, int]:
        """Return the session with which a client of an account is to go on, and how much of it the client has handled.

        Raises `NotResumable`.
        """
        try:
            previd, h = sm.resume_of(resume)
        except sm.BadElement as error:
            self.log.info("{account}: nothing to resume: {error}", account=account, error=str(error))
            RESUMPTIONS.count("client", "failure")
            raise NotResumable(sm.failed("bad-request")) from error
        session = self.find(previd, account)
        if session is not None and not session.has_all_behind(h):
            session.close("resource-constraint", "too much was not acknowledged")
            session = None
        if session is None:
            RESUMPTIONS.count("client", "failure")
            raise NotResumable(sm.failed("item-not-found", self.handled_of_ended(previd, account)))
        return session, h

    def find(self, session_id: str, account: str) -> Resumable | None:
        """Return a session of an account; None if it has none of that id."""
        session = self._sessions.get(session_id)
        return session if session is not None and session.account == account else None

    def told_at_last(self, session_id: str, account: str, handled: int) -> None:
        """A session that is over has told its client how much is handled: no less is said if that asks later."""
        self._ended.update(session_id, account, handled)

    def handled_of_ended(self, session_id: str, account: str) -> int | None:
        """Return how many stanzas a session of an account had handled that is over; None if that is not known."""
        return self._ended.handled(session_id, account)

    def falls_asleep(self, session_id: str) -> None:
        """A session has lost its client. If too many of the account's sleep, the one that does so for longest ends."""
        session = self._sessions[session_id]
        asleep = self._asleep.setdefault(session.account, {})
        asleep[session_id] = session
        if len(asleep) > self.settings.sleeping_per_account:
            longest = next(iter(asleep.values()))
            self.log.info("too many sessions of {account} sleep: {jid} ends", account=session.account, jid=longest.jid)
            longest.close("resource-constraint", "too many sessions sleep")

    def wakes(self, session_id: str, account: str) -> None:
        """A session does not sleep any more."""
        asleep = self._asleep.get(account, {})
        asleep.pop(session_id, None)
        if not asleep:
            self._asleep.pop(account, None)

    def remove(self, session_id: str) -> bool:
        """A session is over: it cannot be resumed, but its client may ask what became of its last stanzas.

        False: that is known already.
        """
        session = self.departs(session_id)
        if session is None:
            return False
        self._ended.add(session_id, session.account, session.handled)
        return True

    def departs(self, session_id: str) -> Resumable | None:
        """A session is not here any more; return it. If another process has it, that knows what becomes of it."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self.wakes(session_id, session.account)
            self._unnamed(session_id)
        return session

    def end_domains(self, gone: Collection[str], text: str) -> None:
        """End those of domains that are not served any more."""
        for session in list(self._sessions.values()):
            if session.account.rpartition("@")[2] in gone:
                session.close("host-gone", text)

    def shut_down(self) -> None:
        """End them all, those too that have just lost their connection and do not sleep yet."""
        for session in list(self._sessions.values()):
            session.close("system-shutdown")


def _device_of(session: Resumable) -> str:
    """Return what tells a session's device from others of its account: the id that it says, or its resource.

    Where the server has bound that anew, what had it before is over, whether or not its end has come here. "": nothing
    does; a session that is bound along with its login, by a device that says no id, has a resource of its own.
    """
    return session.device or session.jid
