"""No well-formed stanza, however absurd, raises in client_proxy (protocol notes, *Who is believed*)."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.absurd import Absurd
from tests.clientproxy.scene import ALICE, DOMAIN, TARGET, Scene
from tests.examples import examples

ADDRESSES = (DOMAIN, DOMAIN, f"{DOMAIN}/x", TARGET, f"{TARGET}/one", f"{TARGET}/two", ALICE, "example.org")
LIVES = examples(30)  # `make fuzz` has more of them: its machine and its targets say such things, too
STANZAS = 40


class AbsurdTests(SynchronousTestCase):
    def test_from_everywhere(self) -> None:
        for seed in range(LIVES):
            self._live(Random(seed))

    def _live(self, random: Random) -> None:
        """A domain among peers who make no sense."""
        scene = Scene()
        scene.strict = False
        scene.online("one", "two")
        absurd = Absurd(random, ADDRESSES)
        ids: tuple[str, ...] = ()
        for _number in range(STANZAS):
            xml = absurd.stanza(ids)
            try:
                scene.receive(xml)
                if random.random() < 0.1:
                    scene.pass_time(random.choice((1, 30)))
            except Exception as error:
                raise AssertionError(f"{type(error).__name__} of {xml[:4000]}") from error
            ids = (*ids, *(stanza["id"] for stanza in scene.sent() if "id" in stanza.attributes))[-8:]
        scene.pass_time(300)
