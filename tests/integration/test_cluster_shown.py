"""Each of two processes shows the whole cluster: its metrics, and the operator's page.

A page of metrics is good for a second: each node is asked once, when what it is to tell has happened.
"""

import json
from collections.abc import Sequence

from twisted.internet.threads import deferToThread

from tests.integration import web
from tests.integration.cases import on_both_servers
from tests.integration.commands import run
from tests.integration.nodes import ClusterCase, Node
from tests.storage import postgresql

LONG = 60.0


@on_both_servers
class ShownTests(ClusterCase):
    async def two(self) -> Sequence[Node]:
        """Two nodes that have seen each other."""
        one, other = await self.nodes(web=True)
        await one.process.says("node-1 at .* (has come into|is in) the cluster", LONG)  # as it looks before or after
        await other.process.says("node-0 at .* is in the cluster already", LONG)
        return one, other

    async def test_metrics(self) -> None:
        one, other = await self.two()
        alice, _phone, place = await self.in_a_room(one)
        await self.join(await self.client(alice, "laptop", proxy=other), place)
        holder, edge = await web.numbers(one), await web.numbers(other)
        for seen in (holder, edge):
            self.assertEqual((seen["cluster_seen",], seen["cluster_processes",]), (1, 2))
            self.assertEqual((seen["cluster_free_accounts",], seen["cluster_namesakes",]), (0, 0))
            self.assertEqual((seen["cluster_drained", "node-0"], seen["cluster_drained", "node-1"]), (0, 0))
            self.assertTrue(0 < seen["cluster_row_seconds",] <= 15)
            self.assertGreater(seen["cluster_questions_total", "success"], 0)
        self.assertEqual((holder["cluster_accounts", "node-0"], edge["cluster_accounts", "node-1"]), (1, 0))
        self.assertEqual((holder["cluster_account_changes_total", "claimed"], holder["cluster_open_pipes",]), (1, 0))
        self.assertEqual((edge["cluster_open_pipes",], edge["cluster_pipes_total", "success"]), (1, 1))
        self.assertEqual(holder["cluster_handovers_total", "success"], 1)

    async def test_the_database_does_not_tell(self) -> None:
        """What others hold: somebody has locked the table. The process gives its signs of life all the same."""
        one, _other = await self.two()
        with postgresql.cluster().connect(self.name) as connection:
            connection.execute("LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")
            await one.process.says("the cluster cannot be looked at, trying again", LONG)
            told = json.loads((await run(one, "status", "--json")).stdout)
            seen = await web.numbers(one)
            _code, text = await web.page(one, "/")
            connection.rollback()
        self.assertEqual((told["cluster"]["seen"], told["well"]), (False, False))
        self.assertIn("cluster-unseen", [trouble["code"] for trouble in told["troubles"]])
        self.assertEqual((seen["cluster_seen",], seen["cluster_processes",]), (0, 2))
        self.assertGreater(seen["cluster_questions_total", "failure"], 0)
        self.assertGreater(seen["cluster_look_age_seconds",], 1)
        self.assertIn("The database does not tell how the cluster stands now.", text)
        await one.process.says("the cluster can be looked at again", LONG)
        self.assertTrue(json.loads((await run(one, "status", "--json")).stdout)["cluster"]["seen"])

    async def test_page(self) -> None:
        one, other = await self.two()
        for node in (one, other):
            code, text = await web.page(node, "/")
            self.assertEqual(code, 200)
            for told in ("node-0", "node-1", f"{one.directory}/internal.sock", f"{other.directory}/internal.sock"):
                self.assertIn(f"<bdi>{told}</bdi>", text)

    async def test_a_process_ends(self) -> None:
        """The other one takes what it had, and sees that it is alone."""
        one, other = await self.two()
        _alice, _phone, place = await self.in_a_room(one)
        await deferToThread(one.stop)
        await other.process.says(rf"is in {place}, as alice", LONG)
        seen = await web.numbers(other)
        self.assertEqual((seen["cluster_account_changes_total", "taken"], seen["cluster_processes",]), (1, 1))
        self.assertEqual(seen["cluster_accounts", "node-1"], 1)
        self.assertNotIn(("cluster_accounts", "node-0"), seen)
