"""Prosody as a test server."""

from tests.integration.processes import LoggedProcess
from tests.integration.servers import COMPONENT_SECRET, COMPONENTS, Server, beside, fill, in_path


class Prosody(Server):
    """Prosody with its own storage. SCRAM-SHA-1 and PLAIN."""

    name = "prosody"
    domain = "prosody.test"

    @classmethod
    def missing(cls) -> str | None:
        return None if in_path("prosody") else "prosody"

    def start(self) -> LoggedProcess:
        components = "\n".join(
            f'Component "{label}.{self.domain}"\n\tcomponent_secret = "{COMPONENT_SECRET}"' for label in COMPONENTS
        )
        configuration = self.directory / "prosody.cfg.lua"
        configuration.write_text(
            fill(
                beside("prosody.cfg.lua"),
                domain=self.domain,
                muc=self.muc,
                port=self.port,
                direct_tls_port=self.direct_tls_port,
                component_port=self.component_port,
                certificate=self.certificate,
                key=self.key,
                directory=self.directory,
                components=components,
            )
        )
        self._accounts = self.directory / self.domain.replace(".", "%2e") / "accounts"
        self._accounts.mkdir(parents=True, exist_ok=True)
        program = in_path("prosody")
        assert program is not None
        process = LoggedProcess(self.name, [program, "-F", "--config", str(configuration)])
        for service in ("c2s", "c2s_direct_tls", "component"):
            process.wait_for(rf"Activated service '{service}' on")
        return process

    async def register(self, username: str, password: str) -> None:
        # A password in plain is hashed by mod_auth_internal_hashed when first used; prosodyctl takes half a second.
        (self._accounts / f"{username}.dat").write_text(f'return {{ ["password"] = "{password}" }};')
