"""All that is fuzzed, by name. A new target or state machine is one line here, or in the module of its kind."""

from __future__ import annotations

from importlib import import_module

from fuzz import cluster, cores, files, logins, websocket, wire, words
from fuzz.target import Target

_KINDS = (wire, websocket, words, logins, files, cores, cluster)
TARGETS: dict[str, Target] = {name: target for kind in _KINDS for name, target in kind.TARGETS.items()}
MODULES = {name: kind.__name__ for kind in _KINDS for name in kind.TARGETS}

#: State machines of hypothesis, which the unit tests run too: module and class.
MACHINES = {
    "account-machine": ("tests.minimix.machine.account_machine", "AccountMachine"),
    "domain-machine": ("tests.clientproxy.domain_machine", "DomainMachine"),
}
#: How much more time than a target each of them gets.
WEIGHT = 4


def machine(name: str) -> type:
    """Return the class of a state machine."""
    module, class_name = MACHINES[name]
    found: type = getattr(import_module(module), class_name)
    return found
