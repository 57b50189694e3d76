"""Whether others on this machine may read what is secret, or change what the proxy goes by."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from minimixproxy.checking.finding import Finding, error, warning
from minimixproxy.config.settings import Settings


def check_files(path: Path, settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with the modes of the configuration file, `path`, and of those that it names."""
    yield from _changeable("configuration", path)
    if _holds_secret(settings):
        yield from _readable(
            "configuration", path, "holds a secret", f"chmod o-r {path} (and let the group of the proxy's user own it)"
        )
    for proxy in settings.client_proxy:
        if proxy.secret_file is not None:
            yield from _readable(
                f"client_proxy {proxy.domain}", proxy.secret_file, "is a secret", f"chmod 640 {proxy.secret_file}"
            )
    for domain in settings.domain.values():
        if domain.private_key is not None:
            subject = f"certificate of {domain.name}"
            yield from _readable(subject, domain.private_key, "is a private key", f"chmod 640 {domain.private_key}")


def _holds_secret(settings: Settings) -> bool:
    state = settings.state
    in_url = isinstance(state, SecretStr) and make_url(state.get_secret_value()).password is not None
    return in_url or any(proxy.secret_file is None for proxy in settings.client_proxy)


def _readable(subject: str, path: Path, what: str, advice: str) -> Iterator[Finding]:
    mode = _mode(path)
    if mode & 0o004:
        yield warning(subject, f"{path} {what}, and everybody on this machine may read it (mode {mode:04o})", advice)


def _changeable(subject: str, path: Path) -> Iterator[Finding]:
    mode = _mode(path)
    if mode & 0o002:
        yield error(subject, f"everybody on this machine may change {path} (mode {mode:04o})", f"chmod o-w {path}")


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0  # that it cannot be read is said elsewhere
