"""Enrolling by the user's own command; and what was enrolled goes when the password is another one, however changed."""

import json
import sqlite3
from contextlib import closing

from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.commands import run
from tests.integration.logins.device import Device
from tests.integration.logins.rules import ALL_HASHES, Rules
from tests.integration.processes import temporary_directory
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.integration.test_account_changes import NEW
from tests.integration.test_credentials import REFUSED, CredentialsCase
from tests.integration.test_enroll import EnrollCase
from tests.integration.test_owner_commands import OwnerCase, field
from tests.integration.test_registration import query


@on_both_servers
class OwnCommandTests(OwnerCase):
    async def submitted(self, client: Client, password: str) -> tuple[str, str]:
        """Execute the command with a password; return the kind of the note, and the note."""
        address = await self.address(client)
        element = await self.execute(client, address, "enroll")
        element = await self.execute(client, address, "enroll", field("password", password), element["sessionid"])
        return element.note["type"], str(element.note)

    async def test_enrolled(self) -> None:
        proxy = self.own_proxy()
        account = await self.account("alice")
        client = await self.client(account, "phone", proxy=proxy)
        kind, note = await self.submitted(client, "wrong")
        self.assertEqual(kind, "error")
        self.assertIn(f"the server does not take the password of {account.jid}", note)
        self.assertEqual(known(proxy), {})
        kind, note = await self.submitted(client, account.password)
        self.assertEqual((kind, "from now on" in note), ("info", True))
        self.assertEqual(known(proxy), {account.jid: True})
        self.assertFalse([line for line in proxy.process.lines if account.password in line])

    async def test_of_a_device_whose_login_was_relayed(self) -> None:
        """Nobody here knew the password: its account is in rooms from then on."""
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]})
        account = await self.account("alice")
        client = await Device(Rules("any", ALL_HASHES), account).login(proxy.port)
        await proxy.process.says("joins rooms by itself: the account is not enrolled")
        self.assertEqual((await self.submitted(client, "wrong"))[0], "error")
        self.assertEqual((await self.submitted(client, account.password))[0], "info")
        place = await self.in_room(client)
        report = json.loads((await run(proxy, "status", "--json")).stdout)
        self.assertEqual([room["room"] for one in report["accounts"] for room in one["rooms"]], [place])

    async def test_guesses_are_delayed(self) -> None:
        """As those of logins, however many devices guess."""
        proxy = self.own_proxy(limits={"failed_logins": 1, "failed_login_delay": 3600, "failed_login_delay_max": 3600})
        account = await self.account("alice")
        clients = [await self.client(account, name, proxy=proxy) for name in ("phone", "desk")]
        notes = [(await self.submitted(client, "wrong"))[1] for client in (*clients, *clients)]
        self.assertEqual(["too many attempts" in note for note in notes], [False, False, True, True])


def known(proxy: Proxy) -> dict[str, bool]:
    """Which accounts have keys on disk, and whether the client's is among them. What is in the log counts."""
    copy = temporary_directory("copy")
    for path in (proxy.directory / "state").glob("state.sqlite*"):
        (copy / path.name).write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy / "state.sqlite")) as connection:
        rows = connection.execute("SELECT bare, client_key FROM login_keys").fetchall()
    return {bare: client_key is not None for bare, client_key in rows}


@on_both_servers
class WithdrawnTests(CredentialsCase, EnrollCase):
    async def enrolled(self) -> str:
        """Alice is in a room, and enrolled besides."""
        room = await self.in_room()
        await self.is_enrolled(self.alice)
        return room

    async def is_enrolled(self, account: Account) -> None:
        done = await self.enroll(self.behind, account.jid, account.password)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(known(self.behind), {self.alice.jid: True})

    async def all_is_on_disk(self) -> None:
        await run(self.behind, "forget", f"nobody@{self.server.domain}")

    async def test_changed_behind_the_proxy(self) -> None:
        """The account's own stream is refused: nothing is left of the old password. Enrolled anew, it comes back."""
        room = await self.enrolled()
        changed = await self.server.set_password(self.alice, "other word")
        self.relay.cut()
        await self.behind.process.says(REFUSED.format(account=self.alice.jid))
        await self.behind.process.says(f"the server refuses {self.alice.jid}: the keys it was enrolled with")
        await self.away(room)
        await self.all_is_on_disk()
        self.assertEqual(known(self.behind), {})
        await self.is_enrolled(changed)
        await self.back(room)
        self.not_on_disk(changed.password)

    async def test_changed_by_a_client(self) -> None:
        room = await self.enrolled()
        answer = await self.phone.client.iq("set", None, query(self.alice.username, NEW))
        self.assertEqual(answer.get("type"), "result")
        await self.behind.process.says(f"the new password of {self.alice.jid} is learned")
        await self.all_is_on_disk()
        self.assertEqual(known(self.behind), {})
        await self.back(room)

    async def test_another_password_by_a_login(self) -> None:
        """A client logs in with the new one by PLAIN before anything else has met it."""
        await self.enrolled()
        changed = await self.server.set_password(self.alice, "other word")
        await self.device("tablet", changed).connect()
        await self.behind.process.says("was enrolled with another password|the keys it was enrolled with are withdrawn")
        await self.all_is_on_disk()
        self.assertEqual(known(self.behind), {})
