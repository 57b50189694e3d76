"""What the proxy logs in with when no client is there: kept keys, refused ones, and servers where there are none."""

import re
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers
from tests.integration.comingback import ReturnCase
from tests.integration.ejabberd import Ejabberd, UnmanagedEjabberd
from tests.integration.prosody import Prosody, UnmanagedProsody
from tests.integration.servers import Server

NO_SCRAM = ("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512")
REFUSED = r"account stream of {account}: (login refused|the server has another salt)"
WAITS = r"{account} waits for a client to log in"


class CredentialsCase(ReturnCase):
    async def in_room(self, **settings: Any) -> str:
        """Alice's phone and bob in a room."""
        await self.begin(**settings)
        room = self.room()
        await self.bob.open(room)
        (self.phone,) = await self.come("phone", rooms=[room])
        await self.back(room)
        return room

    def state(self) -> dict[Path, bytes]:
        """All files that the proxy keeps."""
        files = {path: path.read_bytes() for path in (self.behind.directory / "state").rglob("*") if path.is_file()}
        self.assertTrue(any(path.name.startswith("state.sqlite") for path in files), files.keys())
        return files

    def not_on_disk(self, password: str) -> None:
        for path, content in self.state().items():
            for form in (password.encode(), password.encode("utf-16-le"), password.encode().hex().encode()):
                self.assertNotIn(form, content, path)

    async def restarted(self, room: str, *, kill: bool = False) -> int:
        """Stop and start the proxy; returns how many connections to the server there have been until then.

        Bob sees alice go in between: she may be back before anybody looks who waits for the start.
        """
        await deferToThread(self.behind.process.kill if kill else self.behind.process.stop)
        await self.away(room)
        connections = len(self.relay.links)
        await deferToThread(self.behind.start)
        return connections


@on_both_servers
class KeptKeysTests(CredentialsCase):
    async def test_back_without_the_password(self) -> None:
        room = await self.in_room()
        self.not_on_disk(self.alice.password)
        for kill in (False, True):
            await self.restarted(room, kill=kill)
            await self.back(room)
            self.not_on_disk(self.alice.password)

    async def test_password_changed(self) -> None:
        """The proxy tries once, says so, and leaves it at that until a client logs in."""
        room = await self.in_room()
        changed = await self.server.set_password(self.alice, "other word")
        self.relay.cut()
        await self.behind.process.says(REFUSED.format(account=self.alice.jid))
        await self.away(room)

        carol = self.device("tablet", await self.account("carol"), "carol")
        await carol.come_back(room)
        for _time in range(2):  # longer than any retry of alice's would have waited
            self.relay.cut(self.relay.links[-1])
            await self.bob.misses(room, "carol")
            await self.bob.sees(room, "carol")
        attempts = [line for line in self.behind.process.lines if f"account stream of {self.alice.jid}" in line]
        self.assertEqual(len(attempts), 1, attempts)

        self.phone = self.device("phone", changed)
        await self.phone.connect()
        await self.back(room)
        await self.phone.enter(room)
        self.not_on_disk(changed.password)

    async def test_refused_over_a_restart(self) -> None:
        room = await self.in_room()
        changed = await self.server.set_password(self.alice, "other word")
        self.relay.cut()
        await self.behind.process.says(REFUSED.format(account=self.alice.jid))
        connections = await self.restarted(room)
        await self.behind.process.says(WAITS.format(account=self.alice.jid))
        # one to ask what the server offers, sooner or later
        self.assertLessEqual(len(self.relay.links), connections + 1, "not tried again")
        attempts = [line for line in self.behind.process.lines if re.search(f"account stream .*{self.alice.jid}", line)]
        self.assertEqual(attempts, [])
        await self.device("phone", changed).connect()
        await self.back(room)
        await self.restarted(room)
        await self.back(room)


class PlainProsody(UnmanagedProsody):
    options = "disable_sasl_mechanisms = { " + ", ".join(f'"{name}"' for name in NO_SCRAM) + " }"


class PlainEjabberd(UnmanagedEjabberd):
    def configuration(self, certificate: Path) -> str:
        mechanisms = ", ".join(f'"{name.lower()}"' for name in ("DIGEST-MD5", *NO_SCRAM))
        return super().configuration(certificate).replace('["digest-md5"]', f"[{mechanisms}]")


class NewSaltsProsody(UnmanagedProsody):
    """Stores passwords as they are, and makes a salt for every login."""

    options = 'authentication = "internal_plain"'


class NewSaltsEjabberd(UnmanagedEjabberd):
    """Stores passwords as they are, and makes a salt for every login."""

    def configuration(self, certificate: Path) -> str:
        configuration = super().configuration(certificate)
        return configuration.replace("auth_password_format: scram", "auth_password_format: plain")


class PasswordCase(CredentialsCase):
    """A server of its own, for which only the password will do."""

    special: ClassVar[type[Server]]

    async def in_room(self, **settings: Any) -> str:
        return await super().in_room(own_server=self.special, **settings)

    async def comes_back(self) -> None:
        room = await self.in_room(domain={"keep_passwords": True})
        for kill in (True, False):
            self.not_on_disk(self.alice.password)  # it is sealed
            await self.restarted(room, kill=kill)
            await self.back(room)

    async def waits_for_a_client(self) -> None:
        room = await self.in_room()
        self.relay.cut()
        await self.away(room)
        await self.back(room)  # from memory
        self.not_on_disk(self.alice.password)
        await self.restarted(room)
        await self.behind.process.says(self.reason.format(account=self.alice.jid))
        await self.device("phone").connect()
        await self.back(room)

    reason = WAITS


class PlainOnlyProsodyTests(PasswordCase):
    kind: ClassVar[type[Server]] = Prosody
    special: ClassVar[type[Server]] = PlainProsody

    async def test_password_kept(self) -> None:
        await self.comes_back()

    async def test_password_in_memory_only(self) -> None:
        await self.waits_for_a_client()


class PlainOnlyEjabberdTests(PlainOnlyProsodyTests):
    kind, special = Ejabberd, PlainEjabberd


class NewSaltsProsodyTests(PlainOnlyProsodyTests):
    kind, special = Prosody, NewSaltsProsody
    reason = REFUSED


class NewSaltsEjabberdTests(PlainOnlyProsodyTests):
    kind, special = Ejabberd, NewSaltsEjabberd
    reason = REFUSED
