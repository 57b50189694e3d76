"""Whether others on this machine may read what is secret, or change what the proxy goes by."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from minimixproxy.checking.finding import Finding, error, warning
from minimixproxy.checking.users import may_read, proxy_user
from minimixproxy.config.settings import Settings

CREDENTIALS = "/run/credentials"  # systemd gives what is below to the service alone


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
    cluster = settings.cluster
    if cluster is not None and cluster.key is not None:
        yield from _readable("[cluster] key", cluster.key, "is a private key", f"chmod 640 {cluster.key}")


def check_readable(path: Path, settings: Settings) -> Iterator[Finding]:
    """Yield which files the proxy's user may not read although root, who asks, may. Blocks; changes nothing."""
    user = proxy_user(settings.directory)
    if user is None:
        return
    for subject, file in _read_by_proxy(path, settings):
        if file.exists() and not file.is_relative_to(CREDENTIALS) and not may_read(user, file):
            yield error(
                subject,
                f"{file} cannot be read by {user.pw_name}, as whom the proxy runs",
                f"chgrp {user.pw_name} {file} && chmod g+r {file}, and have its directories let that group in",
            )


def _read_by_proxy(path: Path, settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "configuration", path
    for domain in settings.domain.values():
        for file in (domain.certificate, domain.private_key, domain.upstream_trust):
            if isinstance(file, Path):
                yield (
                    f"certificate of {domain.name}" if file != domain.upstream_trust else f"server of {domain.name}",
                    file,
                )
    for proxy in settings.client_proxy:
        if proxy.secret_file is not None:
            yield f"client_proxy {proxy.domain}", proxy.secret_file
    if settings.cluster is not None:
        for key in ("secret", "ca", "certificate", "key"):
            file = getattr(settings.cluster, key)
            if file is not None:
                yield f"[cluster] {key}", file


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
