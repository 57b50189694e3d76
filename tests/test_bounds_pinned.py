"""What others may cost, in count, bytes and seconds. Each number is a decision: whoever changes one says so here, too.

That each bound holds is tested where it is, whatever its number; here, that the number stays what was decided.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

BOUNDS: dict[str, dict[str, Any]] = {
    "c2s.clientstream": {"CLOSE_TIMEOUT": 5, "PIECE": 1024},
    "c2s.conversation": {"_MAX_WAITING": 100},
    "c2s.credentials": {"_CACHED_KEYS": 4096},
    "c2s.limits": {"_IPV6_PREFIX": 64, "_TABLE_SIZE": 16384},
    "c2s.loginturns": {"MAX_WAITING": 10},
    "c2s.listener": {"READ": 8192},
    "c2s.negotiation": {
        "REGISTRATION_TIME": 600,
        "LONGEST_REGISTRATION": 1800,
        "MAX_FAILURES": 3,
        "MAX_REFUSALS": 10,
    },
    "c2s.offers": {"FRESH": 600, "RETRY": 30, "PATIENCE": 2},
    "c2s.reach": {"EACH": 50, "TOGETHER": 2, "MAX_WRITES": 150, "CROSSING": 1},
    "c2s.registrar": {
        "ANSWER_TIMEOUT": 30,
        "STREAMS_PER_ADDRESS": 5,
        "STREAMS_PER_DOMAIN": 100,
        "FEWEST_REQUESTS": 20,
        "REQUESTS_PER_ACCOUNT": 4,
        "_ASIDE": 20,
    },
    "c2s.registration": {"LARGEST_REQUEST": 16384, "MOST_TAGS": 500, "DEEPEST_REQUEST": 32},
    "c2s.sasl_server": {"_MAX_BASE64": 8192, "_MAX_FIELD": 1024},
    "c2s.scram": {"MIN_ITERATIONS": 4096, "MAX_ITERATIONS": 10_000_000, "_MAX_MESSAGE": 8192, "_MAX_SALT": 1024},
    "c2s.session": {"ON_ITS_WAY": 5},
    "c2s.srv": {"DEFAULT_PORT": 5222, "_MAX_TARGETS": 8, "_LOOKUP_TIMEOUTS": (2, 4)},
    "c2s.upstream": {
        "CONNECT_TIMEOUT": 10,
        "ATTEMPT_TIMEOUT": 15,
        "LOGIN_TIMEOUT": 40,
        "LARGEST_FROM_SERVER": 16 * 1024**2,
        "MAX_BEFORE_BOUND": 100,
    },
    "c2s.watch": {"MAX_WATCHED": 16},
    "clientproxy.component": {
        "HANDSHAKE_TIMEOUT": 30,
        "SLOW_RETRY": 300,
        "STOP_TIMEOUT": 2,
        "MAX_BACKLOG": 64 * 1024**2,
    },
    "clientproxy.core": {"SETTLING": 5},
    "clientproxy.handlers": {"_TICK": 1, "_KEEPALIVE_TICKS": 60},
    "clientproxy.iqs": {"LONGEST_ID": 1023, "LONGEST_NAMESPACE": 256},
    "clientproxy.jat": {"MAX_PART": 1023, "_CACHED": 16384},
    "clientproxy.presences": {"ASK_AGAIN": 60, "MAX_SUBSCRIBERS": 10_000},
    "clientproxy.sessions": {"LONGEST_NAME": 256, "MOST_OF_ONE": 100},
    "clientproxy.targets": {"MAX_FEATURES": 500},
    "control": {"MAX_REQUEST": 4096, "MAX_CONNECTIONS": 16, "TIMEOUT": 30},
    "forgetting": {"PATIENCE": 20},
    "framing": {"PARSER_LIFE": 256 * 1024, "MAX_HEADER": 10_000, "MAX_DEPTH": 100_000, "_DEEP": 1000},
    "jids": {"_MAX_PART": 1023, "_CACHED": 16384, "_LONGEST_CACHED": 256},
    "log": {"MAX_VALUE": 300, "MAX_VALUES": 20, "MAX_TRACE": 64 * 1024, "MAX_TRACE_LINE": 2000},
    "logflood": {
        "BURST": 50,
        "PER_SECOND": 0.5,
        "BURST_OF_ALL": 2000,
        "PER_SECOND_OF_ALL": 20,
        "MAX_NAMES": 10_000,
        "LONGEST_NAME": 300,
        "MAX_TOLD": 20,
        "INTERVAL": 60,
    },
    "minimix.muc": {"MAX_CODES": 100},
    "refused": {"_COUNTED_ALONG": 16 * 1024},
    "stanza": {"MAX_PAYLOADS": 1000, "MAX_ATTRIBUTES": 100},
    "status": {"TIMEOUT": 10, "MAX_ANSWER": 64 * 1024**2},
    "statusreport": {"MAX_ACCOUNTS": 1000, "MAX_ROOMS": 5000},
    "storage.database": {"BUSY_TIMEOUT": 1},
    "storage.hold": {"LEASE": 15, "RENEWAL": 5, "LOOK": 0.5},
    "storage.journal": {
        "PATIENCE": 3,
        "LOOKS": 3,
        "LIMIT": 64 * 1024**2,
        "FIRST_RETRY": 0.1,
        "LONGEST_RETRY": 5,
        "STOP_PATIENCE": 10,
        "_HELD_LIMIT": 200_000,
    },
    "storage.sealing": {"_MIN_KEY": 32},
    "storage.store": {"ERASED": 30, "ERASED_BUSY": 300},
    "storage.wal": {"AGAIN": 1, "LOG_EVERY": 5, "GATHERED": 600, "SHARE": 20, "CLIENTS_SHARE": 500},
    "storage.writer": {"REST": 1},
    "trees": {"MAX_TAGS": 10_000},
    "undeclared": {"MAX_PREFIXES": 100},
}


class BoundsTests(SynchronousTestCase):
    def test_each(self) -> None:
        for name, bounds in BOUNDS.items():
            module = import_module(f"minimixproxy.{name}")
            self.assertEqual({bound: getattr(module, bound) for bound in bounds}, bounds, name)
