from tests.integration.proxied import ProxiedCase, condition
class T(ProxiedCase):
    async def test_it(self):
        try:
            await self.serve("a")
        finally:
            print(self.running.process.tail()); print(self.server.process.tail())
