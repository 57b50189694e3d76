"""All that is fuzzed, by name. A new target or state machine is one line here, or in the module of its kind."""

from __future__ import annotations

from importlib import import_module

from fuzz import cores, files, logins, wire, words
from fuzz.target import Target

TARGETS: dict[str, Target] = {**wire.TARGETS, **words.TARGETS, **logins.TARGETS, **files.TARGETS, **cores.TARGETS}

#: State machines of hypothesis, which the unit tests run too: module and class.
MACHINES = {
    "domain-machine": ("tests.clientproxy.domain_machine", "DomainMachine"),
}
#: How much more time than a target each of them gets.
WEIGHT = 4


def machine(name: str) -> type:
    """Return the class of a state machine."""
    module, class_name = MACHINES[name]
    found: type = getattr(import_module(module), class_name)
    return found
