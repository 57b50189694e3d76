"""docs/metrics.md has all metrics."""

from __future__ import annotations

import re

from prometheus_client.metrics_core import Metric
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy import tap
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web.collector import ProxyCollector
from minimixproxy.operator.web.metrics import families
from minimixproxy.operator.web.service import WebService
from minimixproxy.operator.web.watched import Watched
from minimixproxy.storage.durability import JournalStatus
from tests.operator.test_status import CLUSTER
from tests.test_documents import ROOT

#: A name in PromQL, not that of a function, and not a label or its value.
NAME = re.compile(r"\b(?:minimixproxy|process|python)_[a-z_]+\b")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}


def all_families() -> list[Metric]:
    assert tap.__doc__ and WebService.__doc__  # with which every module is imported that counts
    watched = Watched(journal=lambda: JournalStatus(True, 0, ""), cluster=lambda: CLUSTER)
    return families(ProxyCollector(watched, Readiness()))


def sample_names() -> set[str]:
    return {family.name + suffix for family in all_families() for suffix in SUFFIXES.get(family.type, ("",))}


def row(family: Metric) -> str:
    labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
    name = family.name + (SUFFIXES[family.type][0] if family.type in ("counter", "info") else "")
    return f"| `{name}` | {family.type} | {', '.join(f'`{label}`' for label in labels)} | {family.documentation} |"


class DocumentedTests(SynchronousTestCase):
    def test_all_metrics(self) -> None:
        """In a table that is made of them: what is to be written there is in the failure."""
        written = re.findall(r"(?m)^\| `minimixproxy_.*$", (ROOT / "docs" / "metrics.md").read_text("utf-8"))
        there = [row(family) for family in all_families() if family.name.startswith("minimixproxy_")]
        self.assertEqual(written, there, "\n" + "\n".join(there))

    def test_text_names_no_other(self) -> None:
        text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
        names = sample_names() | {family.name for family in all_families()}
        self.assertEqual(set(NAME.findall(text)) - names, set())
