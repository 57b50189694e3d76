"""`minimixproxy check`: what is wrong, and what to do."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.checking.endpoints import check_endpoints
from minimixproxy.checking.finding import Finding, Level, error, good, text, unknown
from minimixproxy.checking.names import Names
from minimixproxy.checking.offline import check_offline
from minimixproxy.checking.online import LoginToTry, check_online
from minimixproxy.checking.servers import Servers
from minimixproxy.config.settings import ConfigError, Settings, load
from minimixproxy.jids import parse_jid
from minimixproxy.operator.asking import NoStatus, NotRunning
from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Argument, Command, CommandError, Outcome
from minimixproxy.operator.commands.passwords import ask_password
from minimixproxy.operator.forget import account_address
from minimixproxy.server_stores.records import checked_password


def run(options: Namespace) -> Outcome:
    """Look at everything; nothing is changed."""
    try:
        settings = load(options.config)
    except ConfigError as fault:
        return _outcome([error("configuration", line) for line in str(fault).splitlines()], options)
    from twisted.internet import reactor  # not at import: that would choose the reactor

    login = _login(options, settings)
    found = [good("configuration", f"{options.config}: can be read")]
    running, asked = _running(options)
    found += asked
    found += check_offline(options.config, settings, datetime.now(UTC), reactor)
    found += check_endpoints(settings, reactor, running)
    if options.offline:
        found.append(unknown("network", "neither DNS nor servers are asked", "leave out --offline"))
    else:
        servers = Servers(settings, reactor, lambda stream_id: _is_own(options, stream_id))
        found += _ask(reactor, check_online(settings, reactor, servers, Names(reactor), login))
    return _outcome(found, options)


def _running(options: Namespace) -> tuple[int | None, list[Finding]]:
    """Return the process of the proxy that runs, if one does, and what is to be said of that."""
    try:
        with proxy.connect(options) as connection:
            pid = int(connection.ask({"request": "own_stream", "id": ""}, "pid")["pid"])
    except NotRunning as fault:
        return None, [unknown("running proxy", str(fault))]
    except (NoStatus, ConfigError) as fault:
        return None, [unknown("running proxy", str(fault))]
    return pid, [good("running proxy", f"process {pid}")]


def _is_own(options: Namespace, stream_id: str) -> bool | None:
    try:
        with proxy.connect(options) as connection:
            return bool(connection.ask({"request": "own_stream", "id": stream_id}, "own")["own"])
    except NoStatus:
        return None


def _login(options: Namespace, settings: Settings) -> LoginToTry | None:
    """Ask for the password of the account that is to be tried, if one is. Raises `InvalidJID` or `BadRecord`."""
    if options.login is None:
        return None
    address = parse_jid(account_address(options.login))
    domain = settings.domain.get(address.domain)
    if domain is None or address.local is None:
        raise CommandError(f"--login {address.bare}: its domain is not served by this proxy")
    return LoginToTry(domain, address.local, checked_password(ask_password(address.bare)))


def _ask(reactor: Any, work: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
    """Have the reactor run until all have answered. Raises what the work raises."""
    results: list[Any] = []

    def begin() -> None:
        asking = Deferred.fromCoroutine(work)
        asking.addBoth(results.append)
        asking.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if not results:
        raise KeyboardInterrupt
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    found: list[Finding] = result
    return found


def _outcome(found: list[Finding], options: Namespace) -> Outcome:
    levels = {finding.level for finding in found}
    bad = {Level.ERROR, Level.WARNING, Level.UNKNOWN} if options.strict else {Level.ERROR}
    report = {
        "findings": [
            {"level": one.level.name.lower(), "subject": one.subject, "says": one.says, "advice": one.advice}
            for one in found
        ],
        "counts": {level.name.lower(): sum(one.level is level for one in found) for level in Level},
    }
    return Outcome(text(found), report, 1 if levels & bad else 0)


CHECK = Command(
    "check",
    "what is wrong, and what to do",
    (
        "Looks at everything that the proxy needs, before it runs or while it does, and changes nothing: the "
        "configuration; who may read secrets; certificates (names, times, chain); the directory of state, the database "
        "and the version of its schema; whether each endpoint can be had, or is held by the proxy that runs; where DNS "
        "sends clients; whether the server of each domain answers, whether its TLS is verified, what it offers, and "
        "whether it is the proxy itself; whether the ports for components are open.",
        "Each line begins with ok, WARNING, ERROR or “not asked”, and says what to do. What cannot be asked is said. "
        "Every question has a time-out; the whole takes a minute at most. Run it as the proxy's user, or as root.",
        "The option --check of twistd minimixproxy does the part that needs no network.",
    ),
    run,
    (
        Argument("--offline", "Ask neither DNS nor servers."),
        Argument(
            "--login",
            "Log in at the server as this account as well, to see what it offers then; the password is asked for on "
            "the terminal, or is a line of standard input.",
            value="JID",
        ),
        Argument("--strict", "Let warnings, and what could not be asked, count as errors for the exit status."),
    ),
    {
        0: "There is no error. With --strict: all is well.",
        1: "There is an error. With --strict: or a warning, or something could not be asked.",
    },
    ("minimixproxy check", "minimixproxy check --config new.toml --offline"),
)
