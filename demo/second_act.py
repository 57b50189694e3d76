"""client_proxy: three workers behind one domain. One dies in the middle of the work, and nobody notices."""

from __future__ import annotations

from collections import Counter
from typing import Any

import slixmpp
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from demo.narrator import Narrator
from demo.stage import Stage
from tests.integration.proxied_libraries import COMMAND, SlixmppUser, SlixmppWorker
from tests.integration.servers import COMPONENT_SECRET, Server

TARGET = "implementation"
NAMES = ("one", "two", "three")
REQUESTS = 300
AT_A_TIME = 20
TIMEOUT = 30.0


def client_proxy(server: Server) -> list[dict[str, Any]]:
    """What the proxy's configuration says."""
    return [
        {
            "domain": domain_of(server),
            "target": f"{TARGET}@{server.domain}",
            "server": f"tcp:127.0.0.1:{server.component_port}",
            "secret": COMPONENT_SECRET,
            "policy": "round-robin",
            "name": "Greetings",
        }
    ]


def domain_of(server: Server) -> str:
    return f"proxy.{server.domain}"


async def second_act(narrator: Narrator, stage: Stage) -> None:
    """Play it."""
    await SecondAct(narrator, stage).play()


class SecondAct:
    """The workers are three resources of one ordinary account; carol knows the domain and nothing else."""

    def __init__(self, narrator: Narrator, stage: Stage) -> None:
        self.narrator = narrator
        self.stage = stage
        self.domain = domain_of(stage.server)
        self.workers: dict[str, SlixmppWorker] = {}
        self.carol: Any = None

    async def play(self) -> None:
        self.narrator.act("Second act: an account behind a domain")
        for step in (
            self.workers_log_in,
            self.carol_looks_around,
            self.everybody_works,
            self.a_command_stays_with_its_worker,
            self.one_dies,
            self.a_worker_takes_the_initiative,
        ):
            await step()
        for party in (*self.workers.values(), self.carol):
            await party.logout()

    async def workers_log_in(self) -> None:
        self.narrator.step(f"Three workers log in as {TARGET}; {self.domain} asks for their presence and gets it")
        account = await self.stage.account(TARGET)
        for name in NAMES:
            worker = self.workers[name] = SlixmppWorker(account, name)
            await worker.login(self.stage.server.port)
            self.narrator.tell(name, f"logs in as {worker.jid}")
        await self.stage.proxy.process.says("lets us see its presence")
        for worker in self.workers.values():
            await worker.ping(self.domain)  # its presence went before

    async def carol_looks_around(self) -> None:
        self.narrator.step(f"carol looks at {self.domain}")
        self.carol = SlixmppUser(await self.stage.account("carol"), "desk")
        await self.carol.login(self.stage.server.port)
        commands = await self.carol.commands(self.domain)
        found = [f"{node} at {jid}" for jid, node in commands]
        self.narrator.equal("carol", "finds a command", found, [f"{COMMAND} at {self.domain}"])

    async def everybody_works(self) -> None:
        self.narrator.step("carol asks for the vCard three times: each worker answers once, in the domain's name")
        names = [await self.carol.full_name(self.domain) for _ in NAMES]
        self.narrator.equal("carol", "gets the vCards", sorted(names), sorted(f"The {name}" for name in NAMES))

    async def a_command_stays_with_its_worker(self) -> None:
        self.narrator.step("carol runs the command three times: a form, then the greeting, both from one worker")
        greetings = [await self.carol.greeting(self.domain, "carol") for _ in NAMES]
        for name, greeting in zip(sorted(NAMES), sorted(greetings), strict=True):
            self.narrator.equal("carol", "reads", [greeting], [f"hello carol, says {name}"])

    async def one_dies(self) -> None:
        self.narrator.step(f"carol asks {REQUESTS} times, {AT_A_TIME} at once; after a third of that, worker two dies")
        names: Counter[str] = Counter()
        left = iter(range(REQUESTS))
        third: Deferred[None] = Deferred()

        async def ask() -> None:
            for _ in left:
                names[await self.carol.full_name(self.domain)] += 1
                if names.total() == REQUESTS // 3:
                    third.callback(None)

        asking = gatherResults([Deferred.fromCoroutine(ask()) for _ in range(AT_A_TIME)], consumeErrors=True)
        await third.addTimeout(TIMEOUT, reactor)
        await self.workers.pop("two").cut()
        self.narrator.tell("two", "is gone, without a word")
        await asking
        counts = ", ".join(f"{name}: {count}" for name, count in sorted(names.items()))
        self.narrator.tell("carol", f"gets   {names.total()} answers, no error; {counts}")
        self.narrator.check(names.total() == REQUESTS, f"{REQUESTS} answers; found {names.total()}")
        self.narrator.check(set(names) == {f"The {name}" for name in NAMES}, f"answers of all three; found {counts}")
        later = [await self.carol.full_name(self.domain) for _ in range(4)]
        self.narrator.equal("carol", "is now served by", sorted(set(later)), ["The one", "The three"])

    async def a_worker_takes_the_initiative(self) -> None:
        self.narrator.step("A worker writes to carol through the domain, and gets her answer itself")
        worker = self.workers["three"]
        worker.xmpp.send_message(
            mto=slixmpp.JID(f"{self.domain}/{self.carol.jid}"), mbody="anything else?", mtype="chat"
        )
        message = await self.carol.hears("anything else?")
        self.narrator.equal("carol", "reads a message from", [str(message["from"])], [self.domain])
        message.reply("no, thank you").send()
        answer = await worker.hears("no, thank you")
        self.narrator.equal("three", "reads the answer of", [str(answer["from"])], [f"{self.domain}/{self.carol.jid}"])
