"""Which accounts there are, what is kept of them, and how their streams come back, with a server in memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.accountstream.account_login import SEEN_INTERVAL, AccountLogin, LoginContext
from minimixproxy.accountstream.accounts import OPENINGS_BURST, OPENINGS_PER_SECOND, Accounts
from minimixproxy.accountstream.attempt import Opened, Resumable
from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.lifecycle_rules import OPENING_TIMEOUT
from minimixproxy.accountstream.password_check import RETRIES
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.config.settings import Domain, Rooms, Settings
from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptLogin, KeptMembership, KeptMessage, KeptRoom
from minimixproxy.sasl.keys import Keys
from minimixproxy.timing.answer_window import FIRST, LEAST
from minimixproxy.timing.answered_line import OPENINGS
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.known_keys import MemoryKeys, Unguarded
from tests.log_events import log_events
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession
from tests.minimix.null_journal import NullJournal
from tests.minimix.upstreams import LOGIN, Upstream, login

NOW = 1_700_000_000.0
DAY = 86400.0
KEPT = KeptLogin("a.test", "alice", "sha256", b"salt", 4096, b"client key", b"server key")
ROOMS = [KeptRoom(ROOM, KeptMembership("alice", "alice"))]
KEPT_LOGIN, NEW_LOGIN, ANOTHERS_LOGIN = login(), login(), login()
JOIN = f"to='{ROOM}/alice'".encode()


class RecordingJournal(NullJournal):
    """Remembers what is said of accounts."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[Any, ...]] = []
        self.known = True  # what is asked to be forgotten
        self.erasing: Deferred[None]

    def take(self) -> list[tuple[Any, ...]]:
        said, self.said = self.said, []
        return said

    def account_kept(self, bare: str, login: KeptLogin | None, last_seen: float) -> None:
        self.said.append(("kept", login, last_seen - NOW))

    def account_refused(self, bare: str, refused: bool) -> None:
        self.said.append(("refused", refused))

    def account_expired(self, bare: str) -> None:
        self.said.append(("expired", bare))

    def account_forgotten(self, bare: str) -> bool:
        self.said.append(("forgotten", bare))
        return self.known

    def erased(self, *, copies: bool) -> Deferred[None]:
        self.said.append(("erased", copies))
        self.erasing = Deferred()
        return self.erasing


class Logins:
    """Keeps what the test says, and revives what it says."""

    def __init__(self, case: AccountsTest) -> None:
        self.open = case.connect
        self.prove = case.prove
        self.kept = KEPT
        self.revived: Login | None = KEPT_LOGIN
        self.renewed: list[tuple[Login, str, Login]] = []

    def keep(self, login: Login, before: KeptLogin | None) -> KeptLogin:
        return self.kept

    def renew(self, login: Login, password: str) -> Login:
        new = replace(login, credential=Credential.from_password(password))
        self.renewed.append((login, password, new))
        return new

    def serves(self, domain: str) -> bool:
        return domain == "a.test"

    def new(self, bare: str, password: str) -> Login | None:
        local, _, domain = bare.rpartition("@")
        if not self.serves(domain):
            return None
        return replace(login(local, domain), credential=Credential.from_password(password))

    def revive(self, kept: KeptLogin, bare: str) -> Login | None:
        return self.revived


class AccountsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.upstream = Upstream()
        self.used: list[Login] = []
        self.proofs: list[tuple[Login, Deferred[None]]] = []
        self.journal = RecordingJournal()
        self.logins = Logins(self)
        self.enrolled = MemoryKeys()
        self.accounts = self.made(stay=30 * DAY, bookmarks="off")

    def made(self, *logins: Literal["SCRAM", "PLAIN"], **rooms: object) -> Accounts:
        domain = Domain(name="a.test", logins=logins or ("SCRAM", "PLAIN"))
        settings = Settings.model_construct(rooms=Rooms.model_validate(rooms), domain={"a.test": domain})
        return self.with_settings(settings)

    def with_settings(self, settings: Settings, resource: Callable[[str], str] = lambda _bare: "") -> Accounts:
        return Accounts(
            LoginContext(settings, self.clock, self.journal, self.logins, resource, self.enrolled, Unguarded())
        )

    def connect(self, login: Login, _resource: str = "", _resumable: Resumable | None = None) -> Deferred[Opened]:
        self.used.append(login)
        return self.upstream.connect(login)

    def kept(self, **changes: Any) -> KeptAccount:
        return replace(KeptAccount(BARE, KEPT, False, NOW - DAY, ROOMS), **changes)

    def restored(self, **changes: Any) -> None:
        self.accounts.restore([self.kept(**changes)])

    def session(self, resource: str = "phone", login: Login = LOGIN) -> FakeSession:
        session = FakeSession(resource, self.clock)
        self.account = self.accounts.session_bound(session, login)
        return session

    def prove(self, login: Login) -> Deferred[None]:
        self.proofs.append((login, Deferred()))
        return self.proofs[-1][1]

    def joins(self, session: FakeSession) -> None:
        self.account.from_client(
            session, parse_stanza(f"<presence to='{ROOM}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        )

    def joined(self) -> FakeSession:
        """A session whose account is in the room."""
        session = self.session()
        self.joins(session)
        self.upstream.accept()
        self.enters()
        self.journal.take()
        return session

    def enters(self) -> None:
        """The room lets the account in."""
        self.assertIn(JOIN, self.upstream.take_of_reader())
        self.upstream.says(
            f"<presence from='{ROOM}/alice' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>"
            f"<status code='110'/></x></presence>"
            f"<message type='groupchat' from='{ROOM}' to='{STREAM}'><subject/></message>"
        )

    def breaks(self) -> None:
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))

    def refuses(self) -> None:
        self.upstream.attempts.pop().errback(CredentialRefused("not-authorized"))


class SilentServerTest(AccountsTest):
    def test_pinged_and_given_up_after_the_configured_time(self) -> None:
        self.accounts = self.made(bookmarks="off", ping_interval=7)
        self.joined()
        self.upstream.take()
        self.clock.advance(6.9)
        self.assertEqual(self.upstream.take(), b"")
        self.clock.advance(0.1)
        self.assertIn(b"urn:xmpp:ping", self.upstream.take())
        self.clock.advance(7)
        self.assertTrue(self.upstream.transport.aborted)


class InMemoryTest(AccountsTest):
    """What is written in the place of what is on disk, where messages had to be let go."""

    def test_all_of_it(self) -> None:
        messages = [KeptMessage(5, NOW - 100, b"<message/>", False)]
        kept = self.kept(rooms=[KeptRoom(ROOM, ROOMS[0].membership, messages)])
        other = self.kept(bare="bob@a.test", refused=True, rooms=[])
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        self.accounts.restore([kept, other])
        mine, others = self.accounts.kept()
        self.assertEqual((mine.bare, mine.login, mine.refused, mine.last_seen), (BARE, KEPT, False, NOW - DAY))
        self.assertEqual([(room.room, room.messages) for room in mine.rooms], [(ROOM, messages)])
        self.assertEqual((others.bare, others.refused, others.rooms), ("bob@a.test", True, []))

    def test_what_clients_are_told_waits_for_the_journal(self) -> None:
        told: list[bytes] = []
        self.patch(self.journal, "gated", lambda deliver: lambda data: deliver(b"then " + data))
        self.accounts.gated(told.append)(b"this")
        self.assertEqual(told, [b"then this"])


class LoginTest(AccountsTest):
    def test_kept_with_the_first_session_and_once_only(self) -> None:
        self.session()
        self.assertEqual(self.journal.take(), [("kept", KEPT, 0)])
        self.clock.advance(SEEN_INTERVAL - 1)
        self.session("laptop")
        self.assertEqual(self.journal.take(), [])
        self.clock.advance(1)
        self.session("tablet")
        self.assertEqual(self.journal.take(), [("kept", None, SEEN_INTERVAL)])
        self.session("watch")
        self.assertEqual(self.journal.take(), [])
        self.logins.kept = replace(KEPT, salt=b"other")
        self.session("desktop")
        self.assertEqual(self.journal.take(), [("kept", self.logins.kept, SEEN_INTERVAL)])

    def test_latest_login_opens(self) -> None:
        self.joined()
        self.session("laptop", NEW_LOGIN)
        self.breaks()
        self.clock.advance(2)
        self.assertEqual(self.used, [LOGIN, NEW_LOGIN])

    def test_what_an_opening_has_shown_is_kept(self) -> None:
        self.joins(self.session())
        self.journal.take()
        self.logins.kept = replace(KEPT, salt=b"other")
        self.clock.advance(5)
        self.upstream.accept()
        self.assertEqual(self.journal.take(), [("kept", self.logins.kept, 0)])

    def test_without_one_nothing_is_opened(self) -> None:
        """Only a client's login can help: nothing is tried again and again."""
        login = AccountLogin(BARE, self.accounts.logins)
        error = self.failureResultOf(Deferred.fromCoroutine(login.open()), CredentialRefused)
        self.assertEqual((str(error.value), self.used), ("no usable login was kept", []))


class RefusedTest(AccountsTest):
    def test_marked_and_not_tried_again(self) -> None:
        self.joined()
        self.breaks()
        self.clock.advance(2)
        self.refuses()
        self.assertEqual(self.journal.take(), [("refused", True)])
        self.clock.advance(DAY)
        self.assertEqual(self.upstream.attempts, [])

    def test_mended_by_the_next_login(self) -> None:
        self.test_marked_and_not_tried_again()
        self.journal.take()
        self.session("laptop", NEW_LOGIN)
        self.assertIn(("refused", False), self.journal.take())
        self.clock.advance(2)
        self.upstream.accept()
        self.assertEqual(self.used[-1], NEW_LOGIN)
        self.assertIn(JOIN, self.upstream.take_of_reader())

    def test_mended_by_a_client_that_goes_on_with_its_session(self) -> None:
        """It has logged in for that, and need not bind ever again."""
        self.test_marked_and_not_tried_again()
        self.accounts.logged_in(BARE, NEW_LOGIN)
        self.assertIn(("refused", False), self.journal.take())
        self.clock.advance(2)
        self.upstream.accept()
        self.assertEqual(self.used[-1], NEW_LOGIN)
        self.assertIn(JOIN, self.upstream.take_of_reader())
        self.accounts.logged_in("nobody@a.test", NEW_LOGIN)

    def test_who_joins_meanwhile_is_told(self) -> None:
        phone = self.session()
        self.joins(phone)
        self.refuses()
        self.assertEqual([stanza.get("type") for stanza in phone.take()], ["error"])
        self.joins(phone)
        self.clock.advance(0)
        self.assertEqual([stanza.get("type") for stanza in phone.take()], ["error"])
        self.assertEqual((self.upstream.attempts, self.journal.take()[1:]), ([], [("refused", True)]))

    def test_new_login_while_the_old_one_is_being_refused(self) -> None:
        self.joined()
        self.breaks()
        self.clock.advance(2)
        self.session("laptop", NEW_LOGIN)
        self.journal.take()
        self.refuses()
        self.clock.advance(2)
        self.upstream.accept()
        self.assertEqual((self.used[-1], self.journal.take()), (NEW_LOGIN, []))
        self.assertIn(JOIN, self.upstream.take_of_reader())

    def test_unreachable_is_not_refused(self) -> None:
        self.joined()
        self.breaks()
        for _ in range(20):
            self.clock.advance(200)
            self.upstream.attempts.pop().errback(CannotOpen("temporary-auth-failure"))
        self.assertEqual(self.journal.take(), [])


class RestoreTest(AccountsTest):
    def test_comes_back(self) -> None:
        self.restored()
        self.assertEqual(self.used, [KEPT_LOGIN])
        self.upstream.accept()
        self.enters()
        self.assertEqual(self.journal.take(), [])
        self.session()
        self.assertEqual(self.journal.take(), [("kept", None, 0)], "there is a client now")

    def test_many_that_wait_for_a_client_are_one_warning(self) -> None:
        self.logins.revived = None
        events = log_events(self)
        kept = [replace(self.kept(), bare=f"alice{number}@a.test") for number in range(200)]
        self.accounts.restore(kept)
        self.clock.advance(0)  # a few in a turn
        (warning,) = (event for event in events if event["log_level"] is LogLevel.warn)
        said = str(formatEvent(warning))
        self.assertIn("200 of 200 accounts wait for a client to log in", said)
        self.assertIn("alice0@a.test, alice1@a.test, alice2@a.test, and others", said)

    def test_unusable_logins_wait_for_a_client(self) -> None:
        for changes, revived in (({"refused": True}, KEPT_LOGIN), ({"login": None}, KEPT_LOGIN), ({}, None)):
            self.setUp()
            self.logins.revived = revived
            self.restored(**changes)
            self.clock.advance(DAY)
            self.assertEqual(self.used, [])
            self.session()
            self.assertIs(("refused", False) in self.journal.take(), "refused" in changes)
            self.upstream.accept()
            self.assertEqual(self.used, [LOGIN])
            self.assertIn(JOIN, self.upstream.take_of_reader())

    def test_idle_for_too_long_while_the_proxy_was_down(self) -> None:
        self.restored(last_seen=NOW - 30 * DAY)
        self.assertEqual((self.journal.take(), len(self.accounts), self.used), ([("expired", BARE)], 0, []))

    def test_rest_of_the_idle_time(self) -> None:
        self.accounts = self.made(stay=3600, bookmarks="off")
        self.restored(last_seen=NOW - 3000)
        self.upstream.accept()
        self.enters()
        for _ in range(20):
            self.assertNotIn(b"unavailable'", self.upstream.take())
            self.clock.advance(30)
            self.upstream.says("<iq type='result' id='pong'/>")
        self.assertIn(f"<presence type='unavailable' to='{ROOM}/alice'>".encode(), self.upstream.take())
        self.assertEqual(self.journal.take(), [])
        self.upstream.says(
            f"<presence from='{ROOM}/alice' to='{STREAM}' type='unavailable'>"
            "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>"
        )
        self.assertEqual((self.journal.take(), len(self.accounts)), ([("expired", BARE)], 0))

    def test_without_rooms(self) -> None:
        self.accounts = self.made("PLAIN", stay=30 * DAY, bookmarks="off")
        self.restored(rooms=[])
        self.assertEqual((self.journal.take(), len(self.accounts)), ([("expired", BARE)], 0))

    def test_without_rooms_but_with_bookmarks(self) -> None:
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        self.restored(rooms=[])
        self.clock.advance(29 * DAY - 1)
        self.assertEqual((self.journal.take(), len(self.accounts)), ([], 1))
        self.clock.advance(1)
        self.assertEqual((self.journal.take(), len(self.accounts)), ([("expired", BARE)], 0))

    def test_in_rooms_by_bookmarks_only(self) -> None:
        """It came into them when its last client had gone: when nobody has come for long enough it leaves them."""
        self.accounts = self.made(stay=600, bookmarks="follow")
        session = self.session()
        self.clock.advance(0)
        self.upstream.accept()
        self.account.session_closed(session)
        (request,) = re.findall(r"<iq [^>]*id='([^']*)'.*urn:xmpp:bookmarks:1", self.upstream.take().decode())
        item = f"<item id='{ROOM}'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/></item>"
        items = f"<items node='urn:xmpp:bookmarks:1'>{item}</items>"
        pubsub = f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{items}</pubsub>"
        self.upstream.says(f"<iq type='result' id='{request}'>{pubsub}</iq>")
        self.enters()
        sent = b""
        for _ in range(20):
            self.assertNotIn(b"unavailable'", sent)
            self.clock.advance(30)
            self.upstream.says("<iq type='result' id='pong'/>")
            sent = self.upstream.take()
        self.assertIn(f"<presence type='unavailable' to='{ROOM}/alice'>".encode(), sent)
        self.assertNotIn(b"</stream:stream>", sent)

    def test_password_that_may_not_be_kept_any_more(self) -> None:
        self.logins.revived = None
        self.restored(login=KeptLogin("a.test", "alice", password="pencil"))
        self.assertEqual(self.journal.take(), [("kept", KeptLogin("a.test", "alice"), -DAY)])

    def test_seen_while_there_is_a_client_and_no_longer(self) -> None:
        """Else an account would stay for ever that nobody comes back to."""
        self.accounts.startService()
        session = self.joined()
        self.clock.advance(SEEN_INTERVAL)
        self.assertEqual([entry[0] for entry in self.journal.take()], ["kept"])
        self.account.session_closed(session)
        self.journal.take()
        self.clock.advance(3 * SEEN_INTERVAL)
        self.assertEqual(self.journal.take(), [])

    def test_nothing_is_kept_of_one_that_is_to_be_forgotten(self) -> None:
        """Its owner said so, and the device that said it stays connected."""
        self.accounts.startService()
        session = self.session()
        self.account.forget()
        self.journal.take()
        self.clock.advance(3 * SEEN_INTERVAL)
        self.assertEqual(self.journal.take(), [])
        self.account.session_closed(session)
        self.assertNotIn("kept", [entry[0] for entry in self.journal.take()])

    def test_passwords_that_were_kept(self) -> None:
        """They go from the disk where the configuration does not allow them any more; elsewhere they stay."""
        for domain, allowed, goes in (("a.test", True, False), ("a.test", False, True), ("gone.test", False, False)):
            kept = KeptLogin(domain, "alice", password="secret")
            settings = Settings.model_construct(
                rooms=Rooms(stay=30 * DAY, bookmarks="off"),
                domain={"a.test": Domain(name="a.test", keep_passwords=allowed)},
            )
            accounts = self.with_settings(settings)
            self.journal.take()
            accounts.restore([self.kept(login=kept)])
            said = [entry[1] for entry in self.journal.take()]
            self.assertEqual(said, [KeptLogin(domain, "alice")] if goes else [], f"{domain} {allowed}")

    def test_a_password_of_an_account_without_a_login(self) -> None:
        """No login is made up from it: that would be one that nobody has seen succeed."""
        self.logins.revived = None
        self.restored()
        self.accounts.password_changed(BARE, "new")
        self.accounts.password_changed("nobody@a.test", "new")
        self.assertEqual((self.proofs, self.used, self.journal.take()), ([], [], []))

    def test_who_was_known_when_it_is_forgotten(self) -> None:
        """In memory, on disk, or nowhere: whoever asked is told."""
        for connected, on_disk, known in ((True, True, True), (True, False, True), (False, True, True)):
            self.setUp()
            if connected:
                self.session()
            self.journal.known = on_disk
            forgetting = self.accounts.forget(BARE)
            self.journal.erasing.callback(None)
            self.assertIs(self.successResultOf(forgetting), known, f"{connected} {on_disk}")
        self.journal.known = False
        forgetting = self.accounts.forget("nobody@a.test")
        self.journal.erasing.callback(None)
        self.assertIs(self.successResultOf(forgetting), False)

    def test_whose_client_is_in_a_room(self) -> None:
        """An account stream is known by its whole address: its resource is this installation's secret."""
        settings = Settings.model_construct(rooms=Rooms(bookmarks="off"), domain={"a.test": Domain(name="a.test")})
        resource = lambda _account: "minimix.0123"  # noqa: E731
        accounts = self.with_settings(settings, resource)
        self.accounts = accounts
        phone = self.joined()
        for address, room, expected in (
            (STREAM, ROOM, phone.jid),
            (STREAM, "other@muc.test", None),
            (f"{BARE}/minimix.9999", ROOM, None),
            (f"{BARE}/phone", ROOM, None),
            (BARE, ROOM, None),
            ("bob@a.test/minimix.0123", ROOM, None),
        ):
            self.assertEqual(accounts._client_of(address, room), expected, f"{address} {room}")

    def test_one_that_cannot_be_restored_costs_only_itself(self) -> None:
        broken: Any = self.kept(bare="bob@a.test", last_seen=None)
        self.accounts.restore([broken, self.kept()])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(self.used, [KEPT_LOGIN])


class GoingTest(AccountsTest):
    def test_without_rooms_kept_for_logins(self) -> None:
        """A device that has once logged in by keys that are known here takes it for an attack if they are not."""
        session = self.session()
        self.account.session_closed(session)
        self.assertEqual((len(self.accounts), self.journal.take()[-1][0]), (1, "kept"))
        self.assertEqual(self.used, [])
        self.accounts = self.made(stay=30 * DAY, bookmarks="off")
        self.restored(rooms=[])
        self.assertEqual((len(self.accounts), self.used), (1, []))
        self.clock.advance(30 * DAY)
        self.assertEqual((len(self.accounts), self.journal.take()[-1]), (0, ("expired", BARE)))

    def test_without_rooms_forgotten_with_the_last_session(self) -> None:
        """Neither rooms nor bookmarks nor logins have any use for what is known of it."""
        self.accounts = self.made("PLAIN", stay=30 * DAY, bookmarks="off")
        session = self.session()
        self.account.session_closed(session)
        self.assertEqual(self.journal.take()[-1], ("expired", BARE))
        self.assertEqual((len(self.accounts), self.clock.getDelayedCalls()), (0, []))

    def test_with_bookmarks_kept_for_a_while(self) -> None:
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        session = self.session()
        self.clock.advance(10)
        self.account.session_closed(session)
        self.assertEqual(self.journal.take()[-1], ("kept", None, 10))
        self.clock.advance(DAY)
        again = self.session()
        self.clock.advance(30 * DAY)
        self.journal.take()
        self.account.session_closed(again)
        self.clock.advance(30 * DAY)
        self.assertEqual(self.journal.take()[-1], ("expired", BARE))

    def test_restored_without_rooms_and_without_a_login(self) -> None:
        """It is kept for no longer than one that could log in."""
        for changes in ({"refused": True}, {"login": None}):
            self.setUp()
            self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
            self.restored(rooms=[], **changes)
            self.assertEqual(len(self.accounts), 1)
            self.clock.advance(30 * DAY)
            self.assertEqual((len(self.accounts), self.journal.take()[-1]), (0, ("expired", BARE)), changes)
            self.clock.advance(Rooms().iq_timeout)
            self.assertEqual(self.clock.getDelayedCalls(), [], changes)
            self.assertEqual(self.used, [], changes)

    def test_a_login_that_was_refused_before_the_restart(self) -> None:
        """It is not tried again, whoever needs the stream."""
        self.restored(refused=True)
        ((account, stream),) = self.accounts.with_streams()
        told: list[Stanza | None] = []
        for count in (1, 2):
            account.ask("b.test", "get", b"<x/>", told.append)
            self.clock.advance(0)
            self.assertEqual((told, self.used, stream.state), ([None] * count, [], StreamState.REFUSED))

    def test_one_that_is_held_no_more(self) -> None:
        """What still happens to it keeps it in memory no longer."""
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        self.session()
        self.accounts.forget(BARE)
        self.account.last_room_ended()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_last_session_is_noted(self) -> None:
        phone, laptop = self.joined(), self.session("laptop")
        self.clock.advance(10)
        self.account.session_closed(phone)
        self.assertEqual(self.journal.take(), [])
        self.account.session_closed(laptop)
        self.assertEqual(self.journal.take(), [("kept", None, 10)])

    def test_a_session_that_lasts_is_noted_now_and_then(self) -> None:
        self.accounts.startService()
        self.session()
        self.journal.take()
        self.clock.pump([SEEN_INTERVAL / 2] * 5)
        self.assertEqual(self.journal.take(), [("kept", None, SEEN_INTERVAL), ("kept", None, 2 * SEEN_INTERVAL)])
        self.accounts.stopService()
        self.clock.advance(2 * SEEN_INTERVAL)
        self.assertEqual(self.journal.take(), [])

    def test_noted_more_often_if_accounts_stay_for_less(self) -> None:
        self.accounts = self.made(stay=400, bookmarks="off")
        self.accounts.startService()
        self.session()
        self.journal.take()
        self.clock.advance(100)
        self.assertEqual(self.journal.take(), [("kept", None, 100)])

    def test_its_user_had_it_forgotten(self) -> None:
        """Why it is not in rooms any more is forgotten, too, once nobody is connected."""
        phone = self.session()
        self.account.forget()
        endings = self.accounts.shared.endings
        endings.note(BARE, "other@muc", Ending(Why.REFUSED), NOW)
        self.account.session_closed(phone)
        self.assertEqual((endings[BARE], len(self.accounts)), ({}, 0))

    def test_at_its_owners_wish(self) -> None:
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        session = self.joined()
        self.account.forget()
        self.assertIn(("forgotten", BARE), self.journal.take())
        self.upstream.says(f"<presence from='{ROOM}/alice' to='{STREAM}' type='unavailable'/>")
        self.account.session_closed(session)
        self.assertEqual((self.journal.take(), len(self.accounts)), ([("expired", BARE)], 0))

    def test_its_session_is_resumed_after_it_was_forgotten(self) -> None:
        self.joined()
        self.account.forget()
        self.upstream.says(f"<presence from='{ROOM}/alice' to='{STREAM}' type='unavailable'/>")
        self.journal.take()
        self.accounts.logged_in(BARE, NEW_LOGIN)
        self.assertEqual(self.journal.take(), [])

    def test_used_after_it_was_forgotten(self) -> None:
        session = self.joined()
        self.account.forget()
        self.upstream.says(f"<presence from='{ROOM}/alice' to='{STREAM}' type='unavailable'/>")
        self.journal.take()
        self.joins(session)
        self.upstream.accept()
        self.assertEqual(self.journal.take(), [("kept", KEPT, 0)])

    def test_refused_after_it_was_forgotten_and_used_again(self) -> None:
        self.test_used_after_it_was_forgotten()
        self.enters()
        self.breaks()
        self.clock.advance(2)
        self.refuses()
        self.assertEqual(self.journal.take(), [("refused", True)])

    def test_nothing_is_forgotten_after_a_stop(self) -> None:
        """Its time may be up while the rest of the proxy ends: that is for the next start to see."""
        self.accounts = self.made(stay=600, bookmarks="follow")
        self.restored(last_seen=NOW - 300, rooms=[])
        self.successResultOf(self.accounts.stopService())
        self.clock.advance(DAY)
        self.assertEqual((self.journal.take(), len(self.accounts)), ([], 1))

    def test_stop(self) -> None:
        session = self.joined()
        done = self.accounts.stopService()
        self.assertEqual(self.upstream.take(), b"</stream:stream>")
        self.assertNoResult(done)
        self.breaks()
        self.successResultOf(done)
        self.account.session_closed(session)
        self.clock.advance(DAY)
        self.assertEqual(self.journal.take(), [("kept", None, 0)], "it comes back after the start")
        self.assertEqual(self.upstream.attempts, [])

    def test_stop_while_it_comes_back(self) -> None:
        session = self.joined()
        self.breaks()
        self.successResultOf(self.accounts.stopService())
        self.joins(session)
        self.clock.advance(DAY)
        self.assertEqual(self.upstream.attempts, [])


class PasswordTest(AccountsTest):
    """A client has changed the password."""

    def changed(self, login: Login = LOGIN, password: str = "new") -> Login:
        """Return the login with the new password."""
        self.accounts.password_changed(BARE, password)
        *before, new = self.logins.renewed.pop()
        self.assertEqual(before, [login, password])
        return new

    def test_opens_streams_and_is_kept_once_it_is_proved(self) -> None:
        self.joined()
        new = self.changed()
        self.assertEqual((self.proofs[0][0], self.journal.take()), (new, []))
        self.logins.kept = replace(KEPT, salt=b"other")
        self.proofs[0][1].callback(None)
        self.assertEqual(self.journal.take(), [("kept", self.logins.kept, 0)])
        self.breaks()
        self.clock.advance(2)
        self.assertEqual(self.used[-1], new)

    def test_the_stream_was_refused_meanwhile(self) -> None:
        self.joined()
        self.breaks()
        self.clock.advance(2)
        self.refuses()
        self.journal.take()
        new = self.changed()
        self.assertEqual(self.journal.take(), [("refused", False)])
        self.clock.advance(2)
        self.assertEqual(self.used[-1], new)
        self.upstream.accept()
        self.enters()

    def test_the_old_login_is_being_refused(self) -> None:
        self.joined()
        self.breaks()
        self.clock.advance(2)
        new = self.changed()
        self.refuses()
        self.assertEqual([said for said in self.journal.take() if said[0] == "refused"], [])
        self.clock.advance(2)
        self.assertEqual(self.used[-1], new)

    def test_a_server_that_cannot_be_reached(self) -> None:
        self.joined()
        self.changed()
        for number, delay in enumerate(RETRIES):
            self.proofs[number][1].errback(CannotOpen("down"))
            self.clock.advance(delay)
            self.upstream.says("<iq type='result' id='pong'/>")
        self.assertEqual(len(self.proofs), len(RETRIES) + 1)
        self.proofs[-1][1].errback(CannotOpen("down"))
        self.assertEqual([said for said in self.journal.take() if said[0] == "refused"], [])
        self.assertEqual(len(self.proofs), len(RETRIES) + 1)

    def test_a_server_that_does_not_mean_it(self) -> None:
        self.joined()
        self.changed()
        self.proofs[0][1].errback(CredentialRefused("not-authorized"))
        self.breaks()
        self.clock.advance(2)
        self.assertEqual((self.used[-1], self.journal.take()), (LOGIN, []))

    def test_the_last_of_several_counts(self) -> None:
        self.joined()
        first = self.changed()
        second = self.changed(first, "newer")
        self.assertTrue(self.proofs[0][1].called)  # cancelled
        self.proofs[1][1].callback(None)
        self.breaks()
        self.clock.advance(2)
        self.assertEqual(self.used[-1], second)

    def test_a_login_after_it_counts(self) -> None:
        self.joined()
        self.changed()
        self.session("laptop", NEW_LOGIN)
        self.proofs[0][1].errback(CredentialRefused("not-authorized"))
        self.breaks()
        self.clock.advance(2)
        self.assertEqual(self.used[-1], NEW_LOGIN)

    def test_changed_again_while_it_is_tried(self) -> None:
        """Whatever the attempt makes of being stopped, it is no fault: connecting has an error of its own for that."""
        self.joined()
        first = self.changed()
        self.proofs[0][1]._canceller = lambda proof: proof.errback(ConnectingCancelledError(None))
        self.changed(first, "newer")
        self.assertEqual(len(self.proofs), 2)
        self.proofs[1][1].callback(None)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_of_nobody(self) -> None:
        self.accounts.password_changed("nobody@a.test", "new")
        self.assertEqual(self.proofs, [])

    def test_nothing_is_left_of_it_after_a_removal(self) -> None:
        phone = self.joined()
        self.changed()
        self.accounts.removed(BARE)
        self.assertTrue(self.proofs[0][1].called)  # cancelled
        self.assertEqual(phone.closed, "not-authorized")
        self.assertEqual(self.journal.take()[-2:], [("forgotten", BARE), ("erased", False)])
        self.journal.erasing.callback(None)
        self.assertEqual((len(self.accounts), self.journal.take()), (0, []))


class ForgetTest(AccountsTest):
    """An account that was deleted at the server."""

    def forget(self) -> bool:
        """Return whether it was known, once all is on disk."""
        result = self.accounts.forget(BARE)
        self.assertNoResult(result)
        self.journal.erasing.callback(None)
        known: bool = self.successResultOf(result)
        return known

    def nothing_is_left(self) -> None:
        """And nothing comes, be it after a month."""
        self.clock.advance(60 * DAY)
        self.assertEqual((self.journal.take(), len(self.accounts)), ([], 0))
        self.assertEqual((self.upstream.attempts, self.clock.getDelayedCalls()), ([], []))

    def test_in_a_room(self) -> None:
        """The room hears of it; clients are told to log in anew."""
        phone, laptop = self.joined(), self.session("laptop")
        phone.take()
        self.assertTrue(self.forget())
        sent = self.upstream.take()
        self.assertIn(f"<presence type='unavailable' to='{ROOM}/alice'>".encode(), sent)
        self.assertTrue(sent.endswith(b"</stream:stream>"), sent)
        self.assertEqual([phone.closed, laptop.closed], ["reset", "reset"])
        self.assertEqual(self.journal.take(), [("forgotten", BARE), ("erased", True)])
        self.account.session_closed(phone)
        self.account.session_closed(laptop)
        self.breaks()
        self.nothing_is_left()

    def test_why_it_is_not_in_rooms_is_forgotten_too(self) -> None:
        endings = self.accounts.shared.endings
        self.joined()
        endings.note(BARE, "other@muc", Ending(Why.KICKED), NOW)
        self.forget()
        self.assertEqual(endings[BARE], {})

    def test_whoever_has_the_address_then_begins_with_nothing(self) -> None:
        self.joined()
        before = self.account
        self.forget()
        self.journal.take()
        self.session(login=ANOTHERS_LOGIN)
        self.assertIsNot(self.account, before)
        self.assertEqual((self.account.rooms, self.used), ({}, [LOGIN]))
        self.assertEqual(self.journal.take(), [("kept", KEPT, 0)])

    def test_what_is_still_heard_of_the_former_account(self) -> None:
        """It is over: whoever has the address now keeps it, with all sessions."""
        phone = self.joined()
        before = self.account
        self.forget()
        self.session("tablet", login=ANOTHERS_LOGIN)
        self.journal.take()
        before.session_closed(phone)
        self.breaks()
        self.assertEqual((len(self.accounts), self.journal.take()), (1, []))
        self.assertIs(self.accounts.session_bound(FakeSession("laptop", self.clock), LOGIN), self.account)

    def test_while_a_client_waits_to_join(self) -> None:
        session = self.session()
        self.joins(session)
        self.assertTrue(self.forget())
        self.assertEqual(session.closed, "reset")
        self.journal.take()
        self.account.session_closed(session)
        self.upstream.attempts.clear()  # one that cannot be stopped any more, and is dropped when it is there
        self.nothing_is_left()

    def test_while_it_leaves(self) -> None:
        """Somebody who waits to join again does not bring it back."""
        phone = self.joined()
        self.account.leave(ROOM)
        self.joins(phone)
        self.journal.take()
        self.upstream.take()
        self.assertTrue(self.forget())
        self.assertEqual(self.journal.take(), [("forgotten", BARE), ("erased", True)])
        self.assertEqual(self.upstream.take(), b"</stream:stream>")
        self.breaks()
        self.nothing_is_left()

    def test_out_of_reach(self) -> None:
        self.joined()
        self.breaks()
        self.assertTrue(self.forget())
        self.journal.take()
        self.nothing_is_left()

    def test_restored(self) -> None:
        for changes in ({}, {"refused": True}):
            self.upstream.attempts.clear()
            self.restored(last_seen=self.clock.seconds() - DAY, **changes)
            self.assertTrue(self.forget())
            self.assertEqual(self.journal.take(), [("forgotten", BARE), ("erased", True)])
            self.upstream.attempts.clear()
            self.nothing_is_left()

    def test_without_clients_for_bookmarks(self) -> None:
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        self.restored(rooms=[])
        self.assertTrue(self.forget())
        self.journal.take()
        self.upstream.attempts.clear()
        self.nothing_is_left()

    def test_not_known(self) -> None:
        """Once more costs nothing; and what is on disk only is known, too."""
        self.assertTrue(self.forget(), "known to the journal")
        self.journal.known = False
        self.assertFalse(self.forget())
        self.journal.take()
        self.nothing_is_left()


class StampedeTest(AccountsTest):
    """Many accounts come back at the same moment."""

    COUNT = 200

    def setUp(self) -> None:
        super().setUp()
        self.openings: Counter[int] = Counter()
        self.restore_many()

    def restore_many(self) -> None:
        self.accounts.restore([self.kept(bare=f"u{number}@a.test") for number in range(self.COUNT)])
        self.clock.advance(0)  # a few in a turn

    def connect(self, login: Login, _resource: str = "", _resumable: Resumable | None = None) -> Deferred[Opened]:
        self.openings[int(self.clock.seconds())] += 1
        return super().connect(login)

    def test_a_server_that_answers(self) -> None:
        for _ in range(self.COUNT // OPENINGS_PER_SECOND * 12):
            while self.upstream.attempts:
                self.upstream.accept()
            self.clock.advance(0.1)
        self.assertEqual(sum(self.openings.values()), self.COUNT)
        per_second = sorted(self.openings.values())
        self.assertLessEqual(per_second[-1], OPENINGS_PER_SECOND + OPENINGS_BURST + 1)  # in the first second only
        self.assertLessEqual(per_second[-2], OPENINGS_PER_SECOND + 1)

    def test_a_server_that_takes_its_time(self) -> None:
        """It opens one after the other: few wait in it, and all come back as soon as it can."""
        under_way = []
        for _ in range(self.COUNT + 10):
            self.clock.advance(0.1)
            under_way.append(len(self.upstream.attempts))
            if self.upstream.attempts:
                self.upstream.attempts.append(self.upstream.attempts.pop(0))  # the first that came
                self.upstream.accept()
        self.assertEqual(sum(self.openings.values()), self.COUNT)
        self.assertLess(max(under_way), 4 * FIRST)

    def test_a_server_that_refuses_connections(self) -> None:
        for _ in range(500):
            while self.upstream.attempts:
                self.upstream.attempts.pop().errback(CannotOpen("refused"))
            self.clock.advance(0.1)
        per_second = sorted(self.openings.values())
        self.assertGreater(sum(per_second), self.COUNT, "some have been tried again")
        self.assertLessEqual(per_second[-1], (LEAST + 1) / OPENINGS.rest)

    def test_a_server_that_is_silent(self) -> None:
        self.clock.pump([0.1] * 500)
        self.assertLessEqual(len(self.upstream.attempts), FIRST + 50 * OPENINGS.least_per_second + 1)
        self.clock.pump([0.1] * 300)
        open_ones = sum(not attempt.called for attempt in self.upstream.attempts)
        self.assertLessEqual(open_ones, FIRST + OPENING_TIMEOUT * OPENINGS.least_per_second + 1)

    def test_a_client_does_not_wait_for_the_crowd(self) -> None:
        session = self.session()
        self.joins(session)
        self.clock.advance(0.2)
        self.assertIn(LOGIN, self.used)
        self.assertLess(len(self.used), 30)

    def test_another_server_does_not_wait_either(self) -> None:
        self.clock.pump([0.1] * 100)
        before = len(self.upstream.attempts)
        self.accounts.restore([self.kept(bare="u@b.test")])
        self.assertEqual(len(self.upstream.attempts), before + 1)


class NotEnrolledTest(AccountsTest):
    """A client has logged in by what nobody here knows: its login opens no stream."""

    RELAYED = replace(LOGIN, credential=Credential.unknown())

    def relayed(self, resource: str = "phone") -> FakeSession:
        return self.session(resource, self.RELAYED)

    def test_no_stream_and_nothing_on_disk(self) -> None:
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        phone = self.relayed()
        self.assertFalse(self.account.is_enrolled)
        self.joins(phone)
        self.clock.advance(SEEN_INTERVAL * 2)
        self.assertEqual((self.used, self.upstream.attempts, dict(self.account.rooms)), ([], [], {}))
        self.assertNotIn("kept", [said[0] for said in self.journal.take()])
        self.account.session_closed(phone)
        self.assertEqual(len(self.accounts), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_operator_reads_it_once_for_each_session(self) -> None:
        events = log_events(self)
        self.relayed()
        self.relayed("laptop")
        told = [text for event in events if "not enrolled" in (text := formatEvent(event))]
        self.assertEqual(
            told, [f"{BARE}/{name} joins rooms by itself: the account is not enrolled" for name in ("phone", "laptop")]
        )

    def test_enrolled_by_a_password_while_it_is_there(self) -> None:
        phone = self.relayed()
        laptop = self.session("laptop")
        self.assertTrue(self.account.is_enrolled)
        self.joins(phone)
        self.joins(laptop)
        self.upstream.accept()
        self.enters()
        self.assertEqual([session.jid for session in self.account.rooms[ROOM].attached], [phone.jid, laptop.jid])

    def test_an_account_with_a_login_from_before_uses_that(self) -> None:
        self.restored()
        phone = self.relayed()
        self.assertTrue(self.account.is_enrolled)
        self.joins(phone)
        self.clock.advance(5)
        self.upstream.accept()
        self.enters()
        self.assertEqual(self.used, [KEPT_LOGIN])
        self.assertEqual(len(self.account._direct), 0, "the session joins by the account")

    def test_a_login_from_before_that_the_server_refuses(self) -> None:
        """Who knows the password may have logged in: that shows nothing of what is kept."""
        self.restored(refused=True)
        phone = self.relayed()
        self.assertFalse(self.account.is_enrolled)
        self.joins(phone)
        self.assertEqual(self.used, [])
        self.account.session_closed(phone)
        self.assertEqual(len(self.accounts), 1, "its rooms wait for a login")

    def test_the_login_that_opens_the_stream_stays(self) -> None:
        self.joined()
        self.relayed("laptop")
        self.breaks()
        self.clock.advance(5)
        self.assertEqual(self.used[1:], [LOGIN])

    def test_going_on_with_a_session_shows_nothing(self) -> None:
        self.relayed()
        self.accounts.logged_in(BARE, self.RELAYED)
        self.assertFalse(self.account.is_enrolled)
        self.accounts.logged_in(BARE, LOGIN)
        self.assertTrue(self.account.is_enrolled)

    def test_a_password_that_its_client_changes_enrolls_it(self) -> None:
        self.relayed()
        self.accounts.password_changed(BARE, "new")
        (_before, password, renewed) = self.logins.renewed[0]
        self.assertEqual((password, renewed.username), ("new", "alice"))
        self.assertTrue(self.account.is_enrolled)
        self.proofs[-1][1].errback(CredentialRefused("not-authorized"))
        self.assertFalse(self.account.is_enrolled)
        self.assertEqual(self.logins.renewed, [(self.RELAYED, "new", renewed)])

    def test_enrolled_by_the_operator_while_it_is_there(self) -> None:
        self.accounts = self.made(stay=30 * DAY, bookmarks="follow")
        phone = self.relayed()
        self.clock.advance(1)
        self.assertEqual(self.used, [])
        self.accounts.enrolled(BARE, NEW_LOGIN, hold=False)
        self.assertTrue(self.account.is_enrolled)
        self.clock.advance(1)
        self.assertEqual(self.used, [NEW_LOGIN], "its bookmarks are read")
        self.upstream.accept()
        self.joins(phone)
        self.assertIn(JOIN, self.upstream.take_of_reader())

    def test_enrolled_before_with_keys_for_another_hash(self) -> None:
        """With keys that log in; those of a server's store do not before a client has shown more."""
        for client_key, enrolled in ((b"c", True), (None, False)):
            self.setUp()
            self.enrolled.put(BARE, [Keys("sha512", b"salt", 4096, b"stored", b"server", client_key)])
            phone = self.relayed()
            self.assertIs(self.account.is_enrolled, enrolled)
            self.joins(phone)
            if enrolled:
                learned = self.used[0].credential.learned
                assert learned is not None
                self.assertEqual(
                    (learned.hash_name, learned.challenge, learned.keys), ("sha512", (b"salt", 4096), (b"c", b"server"))
                )
                self.assertEqual(self.used[0].account, "alice@a.test")
            else:
                self.assertEqual(self.used, [])
