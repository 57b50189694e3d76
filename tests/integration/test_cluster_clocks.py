"""A node's clock is an hour off: what time it is says the database."""

import time
from datetime import UTC, datetime
from pathlib import Path

from tests.integration.cases import on_both_servers
from tests.integration.nodes import NS_MUC, ClusterCase

OFF = """
import time
machines = time.time
time.time = lambda: machines() - 3600
"""
LONG = 60.0


@on_both_servers
class ClockTests(ClusterCase):
    def clock_off(self) -> dict[str, str]:
        """The environment of a program whose time of day is an hour behind."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(OFF)
        return {"PYTHONPATH": str(directory)}

    async def test_an_hour_behind(self) -> None:
        """A device that asks for what was said since it was there is told that, and when it was said."""
        node = self.node(environment=self.clock_off())
        await self.start(node)
        await node.process.says(r"the clock of this machine is -3600 s off", LONG)
        alice, phone, place = await self.in_a_room(node)
        laptop = await self.client(alice, "laptop", proxy=node)
        await self.join(laptop, place)
        bob = await self.witness(place)
        await phone.close()
        since = datetime.fromtimestamp(time.time() - 1, UTC)
        await self.say(bob, place, "meanwhile")
        await laptop.expect("<message><body>meanwhile</body></message>")
        phone = await self.client(alice, "phone", proxy=node)
        wish = f"<history since='{since:%Y-%m-%dT%H:%M:%SZ}'/>"
        phone.send(f"<presence to='{place}/alice'><x xmlns='{NS_MUC}'>{wish}</x></presence>")
        await phone.expect("<message><body>meanwhile</body></message>")
        (told,) = [one for one in phone.received if one.text == "meanwhile"]
        (stamp,) = [child["stamp"] for child in told.element.elements() if child.name == "delay"]
        self.assertLess(abs(datetime.fromisoformat(stamp).timestamp() - time.time()), 1800)
