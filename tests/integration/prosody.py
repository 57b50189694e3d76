"""Prosody as a test server."""

from twisted.internet.threads import deferToThread

from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess
from tests.integration.servers import COMPONENT_SECRET, COMPONENTS, Account, Server, beside, converse, fill, in_path


class Prosody(Server):
    """Prosody with its own storage. SCRAM-SHA-1 and PLAIN."""

    name = "prosody"
    domain = "prosody.test"
    options = ""  # lines for prosody.cfg.lua
    modules: tuple[str, ...] = ()  # more of them

    @classmethod
    def missing(cls) -> str | None:
        return None if in_path("prosody") else "prosody"

    def start(self) -> LoggedProcess:
        self.console_port = free_port()
        components = "\n".join(
            f'Component "{label}.{self.domain}"\n\tcomponent_secret = "{COMPONENT_SECRET}"' for label in COMPONENTS
        )
        configuration = self.directory / "prosody.cfg.lua"
        configuration.write_text(
            fill(
                self.template(),
                domain=self.domain,
                muc=self.muc,
                address=self.address,
                port=self.port,
                direct_tls_port=self.direct_tls_port,
                component_port=self.component_port,
                console_port=self.console_port,
                certificate=self.certificate,
                key=self.key,
                directory=self.directory,
                components=components,
                options=self.options,
                modules="".join(
                    f'"{module}", ' for module in (*self.modules, *(("smacks",) if self.stream_management else ()))
                ),
            )
        )
        self._accounts = self.directory / self.domain.replace(".", "%2e") / "accounts"
        self._accounts.mkdir(parents=True, exist_ok=True)
        program = in_path("prosody")
        assert program is not None
        process = LoggedProcess(self.name, self.host.command([program, "-F", "--config", str(configuration)]))
        for service in ("c2s", "c2s_direct_tls", "component", "console"):
            process.wait_for(rf"Activated service '{service}' on")
        return process

    async def evaluate(self, code: str) -> str:
        # ">" is the whole server's environment; a line ends a command
        line = "> " + code.replace("\n", " ")
        return await deferToThread(converse, self.address, self.console_port, line, end=b"\0", greeted=True)

    async def stop_rooms(self) -> None:
        """Prosody keeps the rooms with their occupants meanwhile: nobody is told anything, and all are still in."""
        await self._done(f"require 'core.hostmanager'.deactivate('{self.muc}')")

    async def start_rooms(self) -> None:
        await self._done(f"require 'core.hostmanager'.activate('{self.muc}')")

    async def lose_rooms(self, *rooms: str) -> None:
        module = f"hosts['{self.muc}'].modules.muc"
        for room in rooms:
            await self._done(f"{module}.forget_room({module}.get_room_from_jid('{room}')) return true")

    async def _done(self, code: str) -> None:
        answer = await self.evaluate(code)
        if "true" not in answer:
            raise AssertionError(f"Prosody did not take {code}: {answer}")

    def template(self) -> str:
        """What is filled in to make the configuration."""
        return beside("prosody.cfg.lua")

    async def register(self, username: str, password: str) -> None:
        # A password in plain is hashed by mod_auth_internal_hashed when first used; prosodyctl takes half a second.
        (self._accounts / f"{username}.dat").write_text(f'return {{ ["password"] = "{password}" }};')

    async def set_password(self, account: Account, password: str) -> Account:
        name, domain = account.username, account.domain
        await self._done(f"return require 'core.usermanager'.set_password('{name}', '{password}', '{domain}')")
        return account._replace(password=password)

    async def remove(self, account: Account) -> None:
        name, domain = account.username, account.domain
        await self._done(f"return require 'core.usermanager'.delete_user('{name}', '{domain}')")


class ForgetfulProsody(Prosody):
    """Prosody that keeps a stream without a connection for a moment only."""

    options = "smacks_hibernation_time = 2"


class UnmanagedProsody(Prosody):
    """Prosody without stream management."""

    stream_management = False


class PushingProsody(Prosody):
    """Prosody with its community's module for push, which complains early of sessions that do not acknowledge."""

    modules = ("cloud_notify",)
    options = "smacks_max_ack_delay = 1"
