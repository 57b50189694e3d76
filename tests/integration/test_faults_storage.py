"""State in trouble under a running proxy: clients go on, and afterwards everything is kept."""

import contextlib
import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from minimixproxy.storage import durability
from tests.integration.comingback import ReturnCase
from tests.integration.faults import Listener
from tests.integration.processes import temporary_directory
from tests.patience import patiently

NOT_DURABLE = "state is not durable"
DURABLE = "state is durable again"


class TroubleTests(ReturnCase):
    """One server is enough."""

    async def start(self) -> Listener:
        """A phone in a room; a laptop that has been there and is away."""
        self.place = self.room()
        await self.bob.open(self.place, archive=False)  # what is not kept by the proxy is kept nowhere
        phone, laptop = await self.come("phone", "laptop", rooms=[self.place])
        await laptop.client.close()
        self.laptop = laptop
        await phone.hears(self.place, [self.bob.speak(self.place)])
        return phone

    @property
    def database(self) -> Path:
        return self.behind.directory / "state" / "state.sqlite"

    async def trouble(self, phone: Listener, begin: Callable[[], object], end: Callable[[], object]) -> None:
        """Clients wait for a moment only; and once the trouble is over, a kill costs nothing."""
        begin()
        said = [self.bob.speak(self.place) for _number in range(60)]
        await phone.hears(self.place, said)
        await self.behind.process.says(NOT_DURABLE)
        said += [self.bob.speak(self.place) for _number in range(60)]
        await phone.hears(self.place, said)
        end()
        await self.behind.process.says(DURABLE)
        await phone.hears(self.place, [self.bob.speak(self.place)])
        await self.kill_and_return(self.place)
        await phone.come_back(self.place)
        await self.laptop.come_back(self.place)
        await self.check(phone, self.laptop, rooms=[self.place])

    async def test_locked(self) -> None:
        await self.begin()
        phone = await self.start()
        with contextlib.closing(sqlite3.connect(self.database, isolation_level=None)) as other:
            await self.trouble(phone, lambda: other.execute("BEGIN EXCLUSIVE"), lambda: other.execute("ROLLBACK"))

    async def test_locked_for_a_moment(self) -> None:
        """Output waits, and nobody notices more."""
        library = temporary_directory("patient")
        patience = f"durability.PATIENCE = {patiently(durability.PATIENCE)}"  # a busy machine takes a moment for longer
        (library / "sitecustomize.py").write_text(f"from minimixproxy.storage import durability\n{patience}\n")
        await self.begin(environment={"PYTHONPATH": str(library)})
        phone = await self.start()
        with contextlib.closing(sqlite3.connect(self.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            said = [self.bob.speak(self.place) for _number in range(20)]
            await self.bob.settled()
            self.assertEqual(phone[self.place].counts[said[0]], 0, "told before it is on disk")
            other.execute("ROLLBACK")
            await phone.hears(self.place, said)
        self.assertNotIn(NOT_DURABLE, "\n".join(self.behind.log))
        await self.kill_and_return(self.place)
        await self.laptop.come_back(self.place)
        await phone.come_back(self.place)
        await self.check(phone, self.laptop, rooms=[self.place])

    async def test_file_too_large(self) -> None:
        """No file may grow (RLIMIT_FSIZE): the way to a full disk that needs no rights."""
        await self.begin()
        phone = await self.start()

        def limit(size: int) -> None:
            resource.prlimit(self.behind.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        await self.trouble(phone, lambda: limit(8192), lambda: limit(resource.RLIM_INFINITY))

    async def test_disk_full(self) -> None:
        await self.begin(start=False)
        directory = self.database.parent
        directory.mkdir(mode=0o700, exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(directory)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            raise SkipTest("a file system can be mounted by root only")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(directory)], check=True)
        await deferToThread(self.behind.start)
        phone = await self.start()
        filler = directory / "filler"
        await self.trouble(phone, lambda: _fill(filler), filler.unlink)

    async def test_damaged_row(self) -> None:
        """It costs itself."""
        await self.begin()
        phone = await self.start()
        said = [self.bob.speak(self.place) for _number in range(30)]  # more than the room's history
        await phone.hears(self.place, said)
        await deferToThread(self.behind.process.kill)
        await self.away(self.place)
        with contextlib.closing(sqlite3.connect(self.database)) as database, database:
            (damaged,) = database.execute("SELECT sequence FROM messages ORDER BY sequence LIMIT 1 OFFSET 2").fetchone()
            database.execute("UPDATE messages SET raw = X'3C6D65' WHERE sequence = ?", (damaged,))
        await deferToThread(self.behind.start)
        await self.behind.process.says("damaged")
        await self.back(self.place)
        await self.laptop.come_back(self.place)
        await self.laptop.hears(self.place, said[-1:])
        await self.settle(self.laptop)
        rest = self.bob.accepted(self.place)
        del rest[2]
        self.assertEqual(self.laptop[self.place].bodies, rest)


def _fill(filler: Path) -> None:
    """Write until nothing goes any more."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(os.urandom(4096))
