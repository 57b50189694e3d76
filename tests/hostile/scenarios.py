"""Attacks as functions, for tests (`test_scenarios`) and for `make bench`, which measures somebody else's pings.

A scenario prepares what it needs and returns the attack, which ends when all that it said has been dealt with.
"""

from typing import Any

from twisted.internet.defer import Deferred

from tests.hostile import outside, users
from tests.hostile.ground import Attack, Scenario, settle, user

SCENARIOS = (
    Scenario("absurdly deep, large and long stanzas", outside.odd_stanzas),
    Scenario("300 corrections at once", outside.corrections),
    Scenario("12 occupants of 100 KB", outside.large_occupants),
    Scenario("30 messages of 200 KB", outside.large_messages),
    Scenario("400 senseless stanzas", outside.absurd_stanzas),
    Scenario("200 senseless stanzas of a user", users.absurd_own),
    Scenario("40 guesses at once", outside.guesses),
    Scenario("a tag in pieces of 16 bytes", outside.tokens_in_pieces),
    Scenario("200 joins anew", users.resyncs),
    Scenario("300 archive queries", users.archive_queries),
    Scenario("300 lists and 300 commands", users.lists_and_commands),
    Scenario("200 KB of presence in 30 rooms", users.large_presence_in_many_rooms),
    Scenario("presences that take long to read", users.worst_presences),
    Scenario("300 answers of an accomplice", users.binds_and_carbons),
    Scenario("300 changes of nick", users.nick_changes),
    Scenario("100 sessions of one account", users.sessions_of_one_account),
)


async def undisturbed(ground: Any, attack: Attack) -> None:
    """Carry an attack out while somebody else talks; all that he says is answered."""
    bystander, room = await user(ground, "bystander")
    over: list[bool] = []

    async def talk() -> int:
        number = 0
        while not over:
            number += 1
            await settle(bystander, room)
        return number

    talking = Deferred.fromCoroutine(talk())
    try:
        await attack()
    finally:
        over.append(True)
        number = await talking
    assert number, "nothing was said"
    await settle(bystander, room)
