"""Prosody with SASL2, Bind2 and FAST, by modules of its community."""

from pathlib import Path

from tests.integration.prosody import Prosody

MODULES = Path("/usr/lib/prosody/modules/mod_sasl2")


class Sasl2Prosody(Prosody):
    """Inline stream management is missing: the module for it asks for a later Prosody."""

    @classmethod
    def missing(cls) -> str | None:
        return super().missing() or (None if MODULES.exists() else "prosody-modules")

    def template(self) -> str:
        enabled = 'modules_enabled = { "newer_prosody", "sasl2", "sasl2_bind2", "sasl2_fast" }'
        paths = f'plugin_paths = {{ "{Path(__file__).parent}" }}'
        host = 'VirtualHost "@domain@"'
        return super().template().replace(host, f"{paths}\n\n{host}\n\t{enabled}")


class BoundProsody(Sasl2Prosody):
    """It offers -PLUS in SASL1 as well, and lists its types (XEP-0440), as a Prosody 13."""

    def template(self) -> str:
        return super().template().replace('"sasl2_fast"', '"sasl2_fast", "plus_in_sasl1"')
