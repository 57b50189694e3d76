"""What is in contrib/ for Prometheus and Grafana asks for metrics, labels and values that there are, in their units."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.operator.web.test_metrics_documented import NAME, all_families, sample_names
from tests.test_documents import ROOT

RULES = ROOT / "contrib" / "prometheus" / "alerts.yml"
DASHBOARDS = sorted((ROOT / "contrib" / "grafana").glob("*.json"))
OF_PROMETHEUS = {"instance", "job"}  # labels that it adds itself
SELECTOR = re.compile(rf"({NAME.pattern})(?:\{{([^}}]*)\}})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
#: `sum by (a, b) (…`, up to the first metric in it.
AGGREGATION = re.compile(rf"\b(by|without) \(([^)]*)\) ?\(.*?({NAME.pattern})")
PER_SECOND = {"process_cpu_seconds_total": "percentunit"}


def expressions(value: Any) -> Iterator[str]:
    """Every expression of a dashboard, wherever it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "definition") and isinstance(inner, str):
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def rules() -> list[tuple[str, str]]:
    """Each alert's expression, and its whole text."""
    alerts = RULES.read_text("utf-8").split("- alert: ")[1:]
    found = [(re.search(r"(?m)^ +expr: (.*)$", text), text) for text in alerts]
    return [(match[1], text) for match, text in found if match is not None]


def values() -> dict[str, dict[str, set[str]]]:
    """For each name that can be asked for, its labels and what they may be."""
    there: dict[str, dict[str, set[str]]] = {name: {} for name in sample_names()}
    for family in all_families():
        for sample in family.samples:
            for label, value in sample.labels.items():
                there[sample.name].setdefault(label, set()).add(value)
    return there


def unit(expression: str) -> str:
    """What Grafana calls the unit of an expression."""
    name = NAME.findall(expression)[0]
    if "quantile" in expression or name.endswith("_seconds"):
        return "s"
    if "rate(" in expression:
        return PER_SECOND.get(name, "Bps" if name.endswith("_bytes_total") else "ops")
    return "bytes" if name.endswith("_bytes") else "short"


class ContributedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.there = values()

    def check(self, expression: str) -> None:
        """Names, labels and values that an expression asks for."""
        names = set(NAME.findall(expression))
        self.assertTrue(names, expression)
        self.assertEqual(names - set(self.there), set(), expression)
        for name, matchers in SELECTOR.findall(expression):
            for label, operator, value in MATCHER.findall(matchers or ""):
                self.check_label(name, label, expression)
                if label not in OF_PROMETHEUS:
                    asked = set(value.split("|")) if "~" in operator else {value}
                    self.assertEqual(asked - self.there[name][label], set(), expression)
        for _kind, labels, name in AGGREGATION.findall(expression):
            for label in labels.split(", "):
                self.check_label(name, label, expression)

    def check_label(self, name: str, label: str, expression: str) -> None:
        self.assertIn(label, OF_PROMETHEUS | set(self.there[name]), f"{name} in {expression}")

    def check_shown(self, text: str, variables: list[str], expression: str) -> None:
        """Labels that a text shows are left over by the expression."""
        left: set[str] = OF_PROMETHEUS | set(self.there[NAME.findall(expression)[0]])
        for kind, labels, _name in AGGREGATION.findall(expression):
            left = left & set(labels.split(", ")) if kind == "by" else left - set(labels.split(", "))
        if re.match(r"(sum|min|max)\(", expression):
            left = set()
        self.assertEqual(set(variables) - left, set(), f"{text} of {expression}")

    def test_rules(self) -> None:
        self.assertEqual(len(rules()), RULES.read_text("utf-8").count("- alert:"))
        self.assertGreater(len(rules()), 8)
        for expression, text in rules():
            if not expression.startswith("up{"):
                self.check(expression)
                self.check_shown(text, re.findall(r"\$labels\.(\w+)", text), expression)

    def test_dashboards(self) -> None:
        self.assertTrue(DASHBOARDS)
        for path in DASHBOARDS:
            asked = list(expressions(json.loads(path.read_text("utf-8"))))
            self.assertGreater(len(asked), 10, path.name)
            for expression in asked:
                self.check(expression)

    def test_legends_and_units(self) -> None:
        for path in DASHBOARDS:
            for panel in json.loads(path.read_text("utf-8"))["panels"]:
                fields = panel.get("fieldConfig", {"overrides": ()})
                other = {
                    override["matcher"]["options"]: prop["value"]
                    for override in fields["overrides"]
                    for prop in override["properties"]
                    if prop["id"] == "unit"
                }
                for target in panel.get("targets", ()):
                    expression, legend = target["expr"], target.get("legendFormat", "")
                    self.check_shown(legend, re.findall(r"\{\{(\w+)\}\}", legend), expression)
                    shown = other.get(legend, fields["defaults"]["unit"])
                    self.assertEqual(shown, unit(expression), f"{panel['title']}: {expression}")

    def test_a_fault_would_be_found(self) -> None:
        for wrong in (
            "minimixproxy_session",
            'minimixproxy_sessions{status="sleeping"}',
            'minimixproxy_sessions{state="asleep"}',
            'sum(minimixproxy_sessions{state=~"sleeping|gone"})',
            "sum by (kind) (rate(minimixproxy_sessions[5m]))",
        ):
            with self.assertRaises(self.failureException):
                self.check(wrong)
        with self.assertRaises(self.failureException):
            self.check_shown("", ["state"], "sum by (instance) (minimixproxy_sessions)")

    def test_every_alert_says_what_to_do(self) -> None:
        for _expression, text in rules():
            self.assertIn("description:", text)
            self.assertIn("summary:", text)

    def test_they_are_shipped(self) -> None:
        self.assertIn("recursive-include contrib *", (ROOT / "MANIFEST.in").read_text("utf-8"))
