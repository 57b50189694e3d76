"""What `twistd minimixproxy` runs: the options, and the one place that knows the whole service tree."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import twisted
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.python import usage

from minimixproxy import __version__, clientproxy, state_lock
from minimixproxy.accountstream.account_login import LoginContext
from minimixproxy.accountstream.accounts import Accounts
from minimixproxy.accountstream.login import UpstreamLogins
from minimixproxy.c2s.own_streams import is_own
from minimixproxy.c2s.server import listener
from minimixproxy.c2s.server.login_attempts import LoginAttempts
from minimixproxy.c2s.session.client_session import ClientSession
from minimixproxy.c2s.transport.certificates import CertificateError
from minimixproxy.c2s.upstream.names import ask_apart
from minimixproxy.checking.finding import Finding
from minimixproxy.checking.loops import check_loops
from minimixproxy.checking.offline import check_before_start, check_offline
from minimixproxy.checking.state import place_of
from minimixproxy.cluster.part import ClusterPart
from minimixproxy.config import settings as config
from minimixproxy.config.reloading import CannotReload, Part
from minimixproxy.config.systemd_sockets import usable_endpoint
from minimixproxy.counting.traffic import client_stanzas
from minimixproxy.logs.faults import LastFaults
from minimixproxy.logs.logger import Logger, printable
from minimixproxy.logs.output import follow
from minimixproxy.logs.service import LogFloodService
from minimixproxy.minimix.interfaces.journal import when_on_disk
from minimixproxy.operator import readiness
from minimixproxy.operator.block import Blocking, OnDisk
from minimixproxy.operator.control import Answer, ControlService
from minimixproxy.operator.drain import Alone, Draining
from minimixproxy.operator.enroll import EnrollingAnswers
from minimixproxy.operator.forget import Forgetting
from minimixproxy.operator.holders import answered_by_holder
from minimixproxy.operator.notify import ServiceManager
from minimixproxy.operator.notify_service import NotifyService
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.reload import Hangups, Read, ReloadService
from minimixproxy.operator.reported import Reported, Trouble, Troubles
from minimixproxy.operator.status_line import status_line
from minimixproxy.operator.status_report import StatusReport
from minimixproxy.ports import Ports
from minimixproxy.resource_id import Installation
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import SQLJournal
from minimixproxy.storage.service import Place, StateService
from minimixproxy.timing.clock import wall_time
from minimixproxy.timing.plain_polling import poll_plainly
from minimixproxy.timing.steady_time import make_steady
from minimixproxy.timing.turn_end import TurnEnd

log = Logger()


class Options(usage.Options):
    """Options after `twistd … minimixproxy`. After parsing, `["settings"]` is the checked configuration."""

    synopsis = "[options]"
    longdesc = "XMPP proxy by which an account, not each of its clients, joins a groupchat."
    optParameters = [["config", "c", None, "The configuration file, in TOML."]]
    optFlags = [["check", None, "Check the configuration file and state, and exit: status 0 if they are good, else 1."]]

    def opt_version(self) -> NoReturn:
        """Display the versions of minimixproxy and Twisted and exit."""
        print(f"minimixproxy {__version__}, Twisted {twisted.__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Load the file here, before twistd forks, writes a PID file or opens a log."""
        if self["config"] is None:
            raise usage.UsageError("--config FILE is missing")
        self["hangups"] = Hangups()
        if not self["check"]:
            self["hangups"].catch()
        try:
            file = Path(self["config"])
            self["settings"] = config.load(file, _print_warning) if self["check"] else config.load(file)
        except config.ConfigError as error:
            _exit(error)
        follow(getattr(self, "parent", None), self["settings"].log)
        if self["check"]:
            _check(Path(self["config"]), self["settings"])


def makeService(options: Options, reactor: Any = None) -> MultiService:
    """Compose the service tree. Exits with a message if a certificate is unusable or state has no place."""
    if reactor is None:
        from twisted.internet import reactor  # not at import: that would choose the reactor
    make_steady(reactor)
    poll_plainly(reactor)
    ask_apart(reactor)
    settings: config.Settings = options["settings"]
    _look_around(Path(options["config"]), settings, reactor)
    tree = MultiService()
    tree.addService(LogFloodService(reactor))  # it stops last
    has_directory = _take_directory(settings, _owner(options))
    manager = ServiceManager()
    minimix = _minimix(settings, manager, reactor) if settings.serves_clients else None
    domains = _domains(settings, minimix, reactor)
    # `reloads` is made below: it tells systemd, which is told of the report, which tells of reloads
    report = StatusReport(reactor, os.getpid, _reported(options, minimix, domains, lambda: reloads.troubles()))
    notifying = _notifying(manager, minimix, report, reactor)
    reloads = _reloads(options, minimix, domains, notifying, reactor)
    if has_directory:
        answers = {**_answers(minimix, report, reactor), "reload": reloads.answer}
        tree.addService(ControlService(settings.directory, answers, reactor))
    tree.addService(notifying)
    if minimix is not None:
        minimix.service.setServiceParent(tree)
    domains.setServiceParent(tree if minimix is None or minimix.cluster is None else minimix.service)
    if settings.web is not None:
        tree.addService(_web(settings.web, minimix, domains, report, reactor))
    tree.addService(reloads)  # it stops first
    _settle()
    return tree


def _domains(settings: config.Settings, minimix: _Minimix | None, reactor: Any) -> clientproxy.ClientProxies:
    """Return the domains of client_proxy: of a cluster, each is connected by one process."""

    def of_cluster(cluster: ClusterPart, section: config.ClientProxy) -> clientproxy.Served:
        return cluster.duty(section.domain, partial(clientproxy.ClientProxyService, section, reactor))

    if minimix is None or minimix.cluster is None:
        return clientproxy.ClientProxies(settings, lambda section: clientproxy.ClientProxyService(section, reactor))
    return clientproxy.ClientProxies(settings, partial(of_cluster, minimix.cluster))


@cache
def _settle() -> None:
    """Have the garbage collector leave what is loaded by now, which stays: looking at it holds the reactor for long."""
    gc.collect()
    gc.freeze()


def _web(
    settings: config.Web,
    minimix: _Minimix | None,
    domains: clientproxy.ClientProxies,
    report: StatusReport,
    reactor: Any,
) -> IService:
    """Return the operator's site. Its modules are imported only here: who has none needs no memory for them."""
    from minimixproxy.operator.web.pages import Sources, resources
    from minimixproxy.operator.web.samples import Samples
    from minimixproxy.operator.web.service import WebService
    from minimixproxy.operator.web.watched import Watched

    _check_endpoint("[web]", settings.endpoint, reactor)
    watched = Watched(domains=domains)
    if minimix is not None:
        accounts, journal, connections = minimix.accounts, minimix.journal, minimix.clients.clients
        watched = Watched(
            accounts.with_streams,
            lambda: journal.status,
            domains,
            lambda: len(connections),
            cluster=minimix.cluster.status if minimix.cluster is not None else lambda: None,
        )
    site = WebService(settings, watched, _readiness(minimix, domains), reactor)
    sources = Sources(report, LastFaults(), Samples(report.surveys, client_stanzas, site.lag.worst, reactor))
    for path, resource in resources(sources).items():
        site.put(path, resource)
    whole = MultiService()
    for service in (sources.faults, sources.samples, site):
        whole.addService(service)
    return whole


def _readiness(minimix: _Minimix | None, domains: clientproxy.ClientProxies) -> Readiness:
    if minimix is None:
        return Readiness(readiness.of_client_proxy(domains))
    service, journal = minimix.service, minimix.journal
    state = readiness.of_state(lambda: service.running, lambda: journal.status)
    return Readiness(state, _of_servers(minimix), minimix.draining.reasons)


def _of_servers(minimix: _Minimix) -> readiness.Check:
    """Return what knows whether servers can be reached. `minimixproxy status` tells of each that cannot."""
    context = minimix.clients.clients.context
    return readiness.of_servers(
        lambda: list(context.domains), lambda: context.offers.unreachable(context.domains.values())
    )


class _Minimix(NamedTuple):
    service: StateService
    accounts: Accounts
    clients: listener.ClientService
    journal: SQLJournal
    enrolling: EnrollingAnswers
    blocking: Blocking
    draining: Draining
    cluster: ClusterPart | None


def _minimix(settings: config.Settings, manager: ServiceManager, reactor: Any) -> _Minimix:
    """Return the accounts that join rooms, and the listeners for their clients, which stop first, on top of state."""
    directory = settings.directory
    cluster = _cluster(settings, reactor)
    resource = Installation(directory).resource if cluster is None else cluster.resource
    turn_end = TurnEnd(reactor)
    _check_endpoints(settings, reactor)
    journal = SQLJournal(reactor, turn_end)
    attempts = LoginAttempts(settings.limits, reactor, journal.blocked)
    logins = UpstreamLogins(settings.domain, settings.limits, reactor, turn_end)
    accounts = Accounts(
        LoginContext(
            settings,
            reactor,
            journal,
            logins,
            resource,
            journal.login_keys,
            attempts,
            journal.blocked,
            (lambda _bare: True) if cluster is None else cluster.is_held,
        )
    )
    place = _place(settings)
    if cluster is not None:
        membership = cluster.join(
            journal,
            accounts,
            lambda handed, login: ClientSession.restored(clients.clients.context.sessions, handed, login),
            lambda error: state.lost(error),
        )
        place = cluster.place(place)
    opening = partial(manager.taking_time, f"opening the state, {place.database.name}")
    state = StateService(journal, place, accounts, reactor, opening)
    if cluster is not None:
        state.addService(membership)
    state.addService(accounts)
    try:
        clients = listener.client_service(
            settings,
            accounts,
            reactor,
            turn_end=turn_end,
            known_keys=accounts.known_keys,
            tokens=journal.login_tokens,
            attempts=attempts,
            cluster=cluster.for_negotiations() if cluster is not None else None,
        )
        if cluster is not None:
            state.addService(cluster.port(clients.clients))
        state.addService(clients)
    except CertificateError as error:
        _exit(error)
    except OSError as error:
        _exit(f"{directory}: {error.strerror}")
    on_disk = when_on_disk(journal)
    answers = EnrollingAnswers(accounts.enrolling, on_disk, lambda: journal.status.durable, reactor)
    blocking = Blocking(
        journal.blocked,
        accounts,
        logins.serves,
        OnDisk(on_disk, lambda: journal.status.durable),
        lambda: wall_time(reactor),
    )
    draining = Draining(clients, cluster.membership.holding.handing_on if cluster is not None else Alone(), reactor)
    return _Minimix(state, accounts, clients, journal, answers, blocking, draining, cluster)


def _cluster(settings: config.Settings, reactor: Any) -> ClusterPart | None:
    if settings.cluster is None:
        return None
    try:
        return ClusterPart(settings.cluster, settings.directory, reactor, settings.seal_key)
    except CertificateError as error:
        _exit(error)


def _reloads(
    options: Options,
    minimix: _Minimix | None,
    domains: clientproxy.ClientProxies,
    notifying: NotifyService,
    reactor: Any,
) -> ReloadService:
    """Return what reloads the configuration. What may disturb others, the ports, is prepared last."""
    read = Read(Path(options["config"]).absolute(), options["settings"])
    parts: list[Part] = [_LookingAround(read.path, reactor), domains]
    if minimix is not None:
        parts += [minimix.clients, minimix.accounts.reconfiguring, Ports(minimix.clients.ports)]
    return ReloadService(read, parts, reactor, options["hangups"], notifying.reloading)


def _reported(
    options: Options, minimix: _Minimix | None, domains: clientproxy.ClientProxies, reload_troubles: Troubles
) -> Reported:
    """Return what there is to tell of."""
    configuration = os.path.abspath(options["config"]) if options["config"] else ""
    if minimix is None:
        return Reported(domains=domains, troubles=[reload_troubles], configuration=configuration)
    accounts, settings, cluster = minimix.accounts, options["settings"], minimix.cluster
    return Reported(
        accounts=accounts.with_streams,
        account=accounts.with_stream,
        endings=accounts.shared.endings.__getitem__,
        blocked=accounts.logins.blocked,
        journal=lambda: minimix.journal.status,
        domains=domains,
        served=lambda domain: domain in settings.domain,
        troubles=[
            lambda: _unreachable(minimix.clients),
            minimix.draining.troubles,
            reload_troubles,
            *(
                [lambda: [Trouble("cluster-unseen", text) for text in cluster.troubles()]]
                if cluster is not None
                else []
            ),
        ],
        configuration=configuration,
        cluster=cluster.status if cluster is not None else lambda: None,
    )


def _unreachable(clients: listener.ClientService) -> list[Trouble]:
    """Servers that clients cannot log in at, as far as was found out."""
    context = clients.clients.context
    context.offers.unreachable(context.domains.values())  # asks anew what is old
    found = context.offers.troubles()
    return [
        Trouble("server-unreachable", f"the server of {printable(name)}: {printable(why)}")
        for name, why in found.items()
    ]


def _answers(minimix: _Minimix | None, report: StatusReport, reactor: Any) -> dict[str, Answer]:
    """Return what can be asked on the control socket."""
    if minimix is None:
        return {"status": report.answer}
    of_accounts: dict[str, Any] = {
        "forget": Forgetting(minimix.accounts, reactor).answer,
        "enroll": minimix.enrolling.enroll,
        "enroll_keys": minimix.enrolling.take_keys,
        "block": minimix.blocking.block,
        "unblock": minimix.blocking.unblock,
        "blocked": minimix.blocking.blocked,
        "drain": lambda request: Deferred.fromCoroutine(minimix.draining.drain(request)),
        "undrain": minimix.draining.undo,
    }
    status: Answer = report.answer
    if minimix.cluster is not None:
        by_holder = partial(answered_by_holder, elsewhere=minimix.cluster.elsewhere)
        of_accounts = {name: by_holder(answer) for name, answer in of_accounts.items()}
        status = answered_by_holder(status, minimix.cluster.told_elsewhere)
    return {
        "status": status,
        "own_stream": _own_stream,
        **{name: _when_open(minimix.service, answer) for name, answer in of_accounts.items()},
    }


def _when_open(state: StateService, answer: Answer) -> Answer:
    def answered(request: dict[str, Any]) -> Any:
        return (
            answer(request) if state.is_open else {"error": "state is not open yet: the proxy waits for its database"}
        )

    return answered


def _notifying(manager: ServiceManager, minimix: _Minimix | None, report: StatusReport, reactor: Any) -> NotifyService:
    """Return what keeps systemd informed. Clients can log in when state is loaded: then the ports are open, too."""

    def is_ready() -> bool:
        return minimix is None or bool(minimix.service.running)

    return NotifyService(manager, reactor, is_ready, lambda: status_line(report.summary()))


def _own_stream(request: dict[str, Any]) -> dict[str, Any]:
    """Tell `minimixproxy check` whether a stream that it was given leads to this process."""
    return {"own": is_own(str(request.get("id", ""))), "pid": os.getpid()}


def _check(path: Path, settings: config.Settings) -> NoReturn:
    """Say what is wrong, as far as that can be told without a network, and exit: with status 1 for errors."""
    from twisted.internet import reactor  # not at import: that would choose the reactor

    wrong = [one for one in check_offline(path, settings, datetime.now(UTC), reactor) if one.advice or one.is_error]
    for finding in wrong:
        print(f"minimixproxy: {finding.level.value.lower()}: {finding.sentence}", file=sys.stderr)
    if any(finding.is_error for finding in wrong):
        raise SystemExit(1)
    print(f"{path}: can be used")
    raise SystemExit(0)


def _warn_of(found: Iterable[Finding]) -> None:
    for finding in found:
        log.warn("{what}: {text}: {explanation}", what=finding.subject, text=finding.says, explanation=finding.advice)


def _look_around(path: Path, settings: config.Settings, reactor: Any) -> None:
    """Log what clients, or others on this machine, will notice of the configuration; exit if it goes in circles."""
    _warn_of(check_before_start(path, settings, datetime.now(UTC)))
    for finding in check_loops(settings, reactor):
        _exit(finding.sentence)


class _LookingAround:
    """What is looked for at the start is looked for in a new configuration, too (`reloading.Part`, and `Prepared`)."""

    def __init__(self, path: Path, reactor: Any) -> None:
        self._path = path
        self._reactor = reactor
        self._found: list[Finding] = []

    async def prepare(self, new: config.Settings) -> _LookingAround:
        for finding in check_loops(new, self._reactor):
            raise CannotReload(finding.sentence)
        self._found = list(check_before_start(self._path, new, datetime.now(UTC)))
        return self

    def commit(self) -> None:
        _warn_of(self._found)

    def undo(self) -> None:
        """Nothing was done."""


def _place(settings: config.Settings) -> Place:
    try:
        return place_of(settings)
    except StateError as error:
        _exit(error)


def _check_endpoints(settings: config.Settings, reactor: Any) -> None:
    """Those that can only be parsed where they are used, as `systemd:`, which needs sockets from systemd."""
    for listen in settings.listen:
        _check_endpoint("[[listen]]", listen.endpoint, reactor)
    for websocket in settings.websocket:
        _check_endpoint("[[websocket]]", websocket.endpoint, reactor)


def _check_endpoint(table: str, endpoint: str, reactor: Any) -> None:
    try:
        usable_endpoint(endpoint, reactor)
    except ValueError as error:
        _exit(f'{table} endpoint "{endpoint}" cannot be used here: {error}')


def _owner(options: Options) -> tuple[int, int]:
    """User and group that twistd will change to, -1 for "as now"."""
    twistd = getattr(options, "parent", None) or {}
    uid, gid = twistd.get("uid"), twistd.get("gid")
    return (-1 if uid is None else uid, -1 if gid is None else gid)


def _take_directory(settings: config.Settings, owner: tuple[int, int]) -> bool:
    """Take the directory of state; False: there is none. Who keeps nothing there works without one, too."""
    if settings.serves_clients or settings.model_fields_set & {"state", "state_directory"}:
        _take_state_directory(settings.directory, owner)
        return True
    try:
        _take_state_directory(settings.directory, owner)
    except SystemExit as reason:
        log.warn(
            "no status can be asked for: {reason} (state_directory of the configuration names another place)",
            reason=str(reason).removeprefix("minimixproxy: "),
        )
        return False
    return True


def _take_state_directory(directory: Path, owner: tuple[int, int]) -> None:
    """Make the directory for state, for its owner only; one that is there is left as it is. It is ours alone then."""
    try:
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True)
            os.chown(directory, *owner)
        state_lock.take(directory)
    except state_lock.InUse as error:
        _exit(error)
    except OSError as error:
        _exit(f"{directory}: {error.strerror}")


def _print_warning(text: str) -> None:
    print(f"minimixproxy: {text}", file=sys.stderr)


def _exit(reason: object) -> NoReturn:
    raise SystemExit(f"minimixproxy: {reason}")
