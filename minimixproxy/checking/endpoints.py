"""Whether the ports for clients and for other processes can be had, and what they serve."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet import endpoints

from minimixproxy.checking.finding import Finding, error, good, unknown, warning
from minimixproxy.checking.users import proxy_user
from minimixproxy.config import cluster_checks
from minimixproxy.config.checks import ENDPOINT_FAULTS, endpoint_kind
from minimixproxy.config.settings import Settings

FIRST_OF_ALL = 1024  # ports below are root's
_ONLY_V6 = Path("/proc/sys/net/ipv6/bindv6only")


class Bound(NamedTuple):
    """Where an endpoint listens. `address`: of an interface, "" or "::" for all; or a path, with `port` 0."""

    family: socket.AddressFamily
    address: str
    port: int

    @property
    def everywhere(self) -> bool:
        """Whether it is on all interfaces."""
        return self.address in ("", "::")


def where(description: str, reactor: Any) -> Bound | None:
    """Return where an endpoint listens, None if only systemd knows. Raises one of `ENDPOINT_FAULTS`."""
    if endpoint_kind(description) == "tls":  # of [cluster], which is none of Twisted's
        return _internal(cluster_checks.place(description))
    endpoint: Any = endpoints.serverFromString(reactor, description)
    endpoint = getattr(endpoint, "_wrappedEndpoint", endpoint)  # of haproxy:
    if hasattr(endpoint, "_port"):
        interface = endpoint._interface or ""
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        return Bound(family, interface, int(endpoint._port))
    if hasattr(endpoint, "_address"):
        return Bound(socket.AF_UNIX, str(endpoint._address), 0)
    return None


def _internal(place: cluster_checks.TLSPlace | cluster_checks.UnixPlace) -> Bound:
    if isinstance(place, cluster_checks.UnixPlace):
        return Bound(socket.AF_UNIX, str(place.path), 0)
    return Bound(socket.AF_INET6 if ":" in place.host else socket.AF_INET, place.host, place.port)


def check_endpoints(settings: Settings, reactor: Any, running: int | None) -> Iterator[Finding]:
    """Yield whether each endpoint can be bound. `running`: the process of the proxy that runs already, if one does."""
    descriptions = [("[[listen]]", listen.endpoint) for listen in settings.listen]
    descriptions += [("[[websocket]]", websocket.endpoint) for websocket in settings.websocket]
    web = settings.web
    if web is not None:
        descriptions.append(("[web]", web.endpoint))
    if settings.cluster is not None:
        descriptions.append(("[cluster]", settings.cluster.endpoint))
    bounds: list[tuple[str, Bound]] = []
    with ExitStack() as stack:
        for section, description in descriptions:
            subject = f"{section} {description}"
            try:
                bound = where(description, reactor)
            except ENDPOINT_FAULTS:  # of those that were read already, only systemd's can be missing here
                bound = None
            if bound is None:
                yield unknown(subject, "cannot be tried: its socket comes from systemd")
                continue
            twin = next((other for other, first in bounds if _same(first, bound)), None)
            bounds.append((description, bound))
            yield _explain(subject, twin) if twin is not None else _try(stack, subject, bound, running)
            yield from _roots(subject, bound, settings)


def _same(one: Bound, other: Bound) -> bool:
    """Tell whether two endpoints are the same port of all interfaces, by IPv4 and by IPv6."""
    families = {one.family, other.family} == {socket.AF_INET, socket.AF_INET6}
    return families and one.port == other.port != 0 and one.everywhere and other.everywhere and not _v6_only()


def _roots(subject: str, bound: Bound, settings: Settings) -> Iterator[Finding]:
    """Root, who checks, may have any port; the proxy's user may not."""
    user = proxy_user(settings.directory)
    if user is not None and 0 < bound.port < FIRST_OF_ALL:
        yield warning(
            subject,
            f"{user.pw_name}, as whom the proxy runs, may not have a port below {FIRST_OF_ALL} by itself",
            "have systemd open it (a .socket unit), give the service CAP_NET_BIND_SERVICE, or name another port",
        )


def _v6_only() -> bool:
    try:
        return _ONLY_V6.read_text().strip() == "1"
    except OSError:
        return False


def _explain(subject: str, twin: str) -> Finding:
    return error(
        subject,
        f'cannot be had together with "{twin}"',
        'an endpoint "tcp6:PORT" serves IPv4 as well as IPv6, so keep that one and leave out the other',
    )


def _try(stack: ExitStack, subject: str, bound: Bound, running: int | None) -> Finding:
    if bound.family is socket.AF_UNIX:
        return _try_path(subject, Path(bound.address), running)
    probe = stack.enter_context(socket.socket(bound.family, socket.SOCK_STREAM))
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((bound.address, bound.port))
        probe.listen(1)
    except OSError as fault:
        return _refused(subject, bound, fault, running)
    return good(subject, _served(bound))


def _served(bound: Bound) -> str:
    if bound.family is socket.AF_INET6 and bound.everywhere and not _v6_only():
        return "can be had, and serves IPv6 and IPv4"
    if bound.family is socket.AF_INET and bound.everywhere:
        return f"can be had, and serves IPv4 only (tcp6:{bound.port} serves both)"
    return "can be had"


def _refused(subject: str, bound: Bound, fault: OSError, running: int | None) -> Finding:
    if fault.errno == errno.EADDRINUSE:
        if running is not None:
            return good(subject, f"in use, as it seems by the proxy that runs (process {running})")
        return error(
            subject,
            "is in use by another program",
            f"ss -ltnp 'sport = :{bound.port}' tells by which; end it, or name another port",
        )
    if fault.errno == errno.EADDRNOTAVAIL:
        return error(subject, f"this machine has no address {bound.address}", "correct interface=…, or leave it out")
    if fault.errno in (errno.EACCES, errno.EPERM):
        advice = "start the proxy as root with --uid, or give it CAP_NET_BIND_SERVICE"
        return error(subject, f"{_who()} may not have a port below 1024", advice)
    return error(subject, f"cannot be had: {fault.strerror}")


def _who() -> str:
    return "root" if os.geteuid() == 0 else f"user {os.geteuid()}"


def _try_path(subject: str, path: Path, running: int | None) -> Finding:
    if len(os.fsencode(path)) > 107:
        return error(subject, "its path is longer than the 107 bytes that are possible", "name a shorter one")
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        return error(subject, f"{_who()} may not make a socket in {path.parent}", "make or chown that directory")
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(path))
            except OSError:
                return good(subject, "is left over from a program that has ended, and is made anew")
        if running is None:
            return error(subject, "is in use by another program", f"ss -lxp src {path} tells by which")
        return good(subject, f"in use, as it seems by the proxy that runs (process {running})")
    if path.exists():
        return error(subject, f"{path} is there and is no socket", "remove it, or name another path")
    return good(subject, "can be had")
