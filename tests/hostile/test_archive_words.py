"""Private messages that look like what an archive says: they are private messages, and the archive's are the room's."""

from tests.hostile.ground import NS_MAM, settle, victim
from tests.hostile.test_scenarios import ScenarioCase
from tests.integration.cases import on_both_servers

MESSAGE = "<message xmlns='jabber:client' from='{room}/bob' type='groupchat'><body>never said</body></message>"
RESULT = (
    f"<result xmlns='{NS_MAM}' queryid='{{query}}' id='1'><forwarded xmlns='urn:xmpp:forward:0'>"
    f"<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>{MESSAGE}</forwarded></result>"
)
END = f"<fin xmlns='{NS_MAM}' complete='true' queryid='{{query}}'/>"


@on_both_servers
class ArchiveWordsTests(ScenarioCase):
    async def test_results_by_an_occupant(self) -> None:
        """While a client reads the room's archive by a query whose id is known to everybody."""
        place = await victim(self)
        phone, laptop, mallory, room = place.phone, place.laptop, place.mallory, place.room
        mallory.send(f"<message to='{room}' type='groupchat' id='said'><body>said</body></message>")
        await settle(mallory, room)
        await phone.expect("<message type='groupchat'><body>said</body></message>")
        words = [piece.format(query="q", room=room) for piece in (RESULT, END, RESULT + END)]

        def forge(prefix: str) -> list[str]:
            sent = []
            for number, inner in enumerate(words):
                for kind in ("chat", "normal"):
                    sent.append(f"{prefix}{number}{kind}")
                    content = f"<body>b</body>{inner}"
                    mallory.send(f"<message to='{room}/alice' type='{kind}' id='{sent[-1]}'>{content}</message>")
                    mallory.send(f"<message to='{place.stream}' type='{kind}'>{content}</message>")
                    mallory.send(f"<iq to='{place.stream}' type='result' id='archive'>{inner}</iq>")
            return sent

        before = forge("before")
        await settle(mallory, room)
        phone.send(f"<iq to='{room}' type='set' id='archive'><query xmlns='{NS_MAM}' queryid='q'/></iq>")
        during = forge("during")
        answer = await phone.expect("<iq type='result' id='archive'/>")
        self.assertEqual(answer.get("from"), room)
        await settle(mallory, room)
        for device in (phone, laptop):
            await settle(device, room)
            of_mallory = [one for one in device.received if one.get("from") == f"{room}/mallory"]
            private = [one.get("id") for one in of_mallory if one.get("type") in ("chat", "normal", None)]
            self.assertEqual([one for one in private if one in before + during], before + during, device.transcript())
        results = [one for one in phone.received if b"<result" in one.raw and one.get("from") == room]
        self.assertTrue(any("said" in str(one) for one in results))
        self.assertEqual([str(one) for one in results if "never said" in str(one)], [])
        self.assertEqual([str(one) for one in laptop.received if b"<result" in one.raw and one.get("from") == room], [])
