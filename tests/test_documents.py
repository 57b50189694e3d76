"""The documents say what is so: configurations can be loaded, every key is described, links lead somewhere."""

import configparser
import importlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin
from xml.etree import ElementTree

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from twisted.trial import unittest

from minimixproxy import __version__
from minimixproxy.config import settings as config
from tests.certificates import make_authority, make_certificate

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MAN_PAGE = ROOT / "docs" / "man" / "minimixproxy.1"
SECTIONS: dict[str, type[BaseModel]] = {
    "## Top level": config.Settings,
    "## `[[listen]]`": config.Listen,
    "## `[[websocket]]`": config.WebSocket,
    '## `[domain."example.org"]`': config.Domain,
    "## `[rooms]`": config.Rooms,
    "## `[push]`": config.Push,
    "## `[sessions]`": config.Sessions,
    "## `[limits]`": config.Limits,
    "## `[web]`": config.Web,
    "## `[cluster]`": config.Cluster,
    "## `[log]`": config.Log,
    "## `[[client_proxy]]`": config.ClientProxy,
}
TABLES = {
    "listen",
    "websocket",
    "domain",
    "rooms",
    "push",
    "sessions",
    "limits",
    "web",
    "log",
    "client_proxy",
    "cluster",
}
DOAP = "{http://usefulinc.com/ns/doap#}"
XMPP = "{https://linkmauve.fr/ns/xmpp-doap#}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def rows(heading: str) -> dict[str, tuple[str, str]]:
    """The table under a heading of docs/configuration.md: key -> (type, default)."""
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    section = text.partition(f"{heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| .+ \|$", section, re.MULTILINE)
    return {key: (kind, default) for key, kind, default in found}


def documented_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """What stands in the table: not the sub-tables, and not a domain's name, which is in the head."""
    hidden = TABLES if model is config.Settings else {"name"} if model is config.Domain else set()
    return {key: field for key, field in model.model_fields.items() if key not in hidden}


def bounds(field: FieldInfo) -> Iterator[float]:
    """The limits of a number, or of the length of a text."""
    metadata = list(field.metadata)
    for annotation in (field.annotation, *get_args(field.annotation)):
        if get_origin(annotation) is Annotated:
            metadata += getattr(annotation, "__metadata__", ())
    for constraint in metadata:
        if isinstance(constraint, FieldInfo):
            yield from bounds(constraint)
        elif isinstance(constraint, Ge | Gt | Le | MaxLen | MinLen):
            (bound,) = asdict(constraint).values()
            yield bound


class ConfigurationReferenceTests(unittest.TestCase):
    def test_every_key_is_there_and_no_other(self) -> None:
        for heading, model in SECTIONS.items():
            self.assertEqual(sorted(rows(heading)), sorted(documented_fields(model)), heading)

    def test_defaults(self) -> None:
        for heading, model in SECTIONS.items():
            for key, field in documented_fields(model).items():
                self.assertEqual(self._default(rows(heading)[key][1]), self._wanted(field), f"{heading} {key}")

    def _default(self, written: str) -> Any:
        if written in ("required", "none"):
            return written
        value = tomllib.loads(f"value = {written.strip('`')}")["value"]
        return tuple(value) if isinstance(value, list) else value

    def _wanted(self, field: FieldInfo) -> Any:
        if field.is_required():
            return "required"
        default = field.get_default()
        return "none" if default is None else str(default) if isinstance(default, Path) else default

    def test_ranges(self) -> None:
        checked = 0
        for heading, model in SECTIONS.items():
            for key, field in documented_fields(model).items():
                kind = rows(heading)[key][0]
                numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", kind)}
                for bound in bounds(field):
                    checked += 1
                    self.assertIn(float(bound), numbers, f"{heading} {key}")
        self.assertGreater(checked, 50)


class SnippetTests(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        make_certificate(make_authority(), "example.org").write(self.directory, "example.org")
        for name in ("secret", "component"):
            (self.directory / name).write_text("component secret\n")

    def test_configurations_can_be_loaded(self) -> None:
        """Files below /etc/minimixproxy, and credentials, are taken from the test's own directory."""
        self.patch(os, "environ", {**os.environ, "CREDENTIALS_DIRECTORY": str(self.directory.absolute())})
        found = [(path, text) for path in DOCUMENTS for text in blocks(path, "toml")]
        self.assertTrue(any(path.name == "README.md" for path, _ in found))
        for path, text in found:
            file = self.directory / f"{path.stem}.toml"
            file.write_text(self._complete(text.replace("/etc/minimixproxy", str(self.directory.absolute()))))
            config.load(file)  # ConfigError names the file

    def test_readme_and_client_proxy_agree(self) -> None:
        """The latter's are tried on both servers, as they are written."""
        section = (ROOT / "README.md").read_text("utf-8").partition("\n## client_proxy\n")[2].partition("\n## ")[0]
        self.assertIn(blocks(ROOT / "docs" / "client-proxy.md", "toml")[0], section)

    def _complete(self, text: str) -> str:
        """An excerpt is loaded with the rest of a minimal file."""
        if "[[listen]]" in text or ("[[client_proxy]]" in text and "[domain." not in text):
            return text
        return f'{text}\n[[listen]]\nendpoint = "tcp:5222"\n[domain."example.com"]\n'


class LinkTests(unittest.TestCase):
    def test_links_to_files_and_headings(self) -> None:
        checked = 0
        for path in DOCUMENTS:
            for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
                if "://" in target:
                    continue
                name, _, heading = target.partition("#")
                file = path.parent / name if name else path
                checked += 1
                self.assertTrue(file.exists(), f"{path.name}: {target}")
                if heading:
                    self.assertIn(heading, headings(file), f"{path.name}: {target}")
        self.assertGreater(checked, 5)

    def test_files_named_in_code(self) -> None:
        """`minimixproxy/…`, `tests/…`, `docs/…` in backquotes are files, directories or patterns that match some."""
        for path in DOCUMENTS:
            for name in re.findall(r"`((?:minimixproxy|tests|docs|demo|tools)/[^`\s]+)`", path.read_text("utf-8")):
                self.assertTrue(any(ROOT.glob(name.rstrip("/"))), f"{path.name}: {name}")


def headings(path: Path) -> set[str]:
    """The anchors that a Markdown renderer makes of headings."""
    lines = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in lines}


class ArchitectureTests(unittest.TestCase):
    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "architecture.md").read_text("utf-8")

    def test_every_room_is_placed(self) -> None:
        """In the drawing, or in a sentence. docs/house.md has every module; see `tests.test_house`."""
        named = set(re.findall(r"[a-z0-9_]+", self.text))
        rooms = [path.parent for path in (ROOT / "minimixproxy").rglob("__init__.py")]
        self.assertGreater(len(rooms), 20)
        inner = ("migrations", "versions", "addressing")  # one line of the drawing stands for them
        self.assertEqual([room.name for room in rooms if room.name not in named and room.name not in inner], [])

    def test_the_way_of_a_message_is_there(self) -> None:
        """Each file of it, and the class and function that it names there."""
        way = self.text.partition("## The way of a groupchat message\n")[2].partition("\n## ")[0]
        steps = re.findall(r"`([\w/]+\.py)`(?: `([\w.]+)`)?", way)
        self.assertGreaterEqual(len(steps), 10)
        for file, name in steps:
            found: Any = importlib.import_module("minimixproxy." + file.removesuffix(".py").replace("/", "."))
            for part in filter(None, name.split(".")):
                found = getattr(found, part)

    def test_length(self) -> None:
        """A newcomer reads these to the end."""
        self.assertLessEqual(len(self.text.split()), 1200)
        self.assertLessEqual(len((ROOT / "README.md").read_text("utf-8").split()), 900)


class ManPageTests(unittest.TestCase):
    needs_programs = True  # not for `make unit`

    def test_lint(self) -> None:
        mandoc = shutil.which("mandoc")
        if mandoc is None:
            if os.environ.get("CI"):
                self.fail("mandoc is not installed: make system")
            raise unittest.SkipTest("mandoc is not installed: make system")
        command = [mandoc, "-T", "lint", "-W", "warning", str(MAN_PAGE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual((done.stdout, done.returncode), ("", 0))


class ProjectDescriptionTests(unittest.TestCase):
    def setUp(self) -> None:
        project = ElementTree.parse(ROOT / "minimixproxy.doap").getroot().find(f"{DOAP}Project")
        assert project is not None
        self.project = project

    def test_release(self) -> None:
        self.assertEqual(self.project.findtext(f".//{DOAP}revision"), __version__)

    def test_extensions(self) -> None:
        """Each is named once, in order, with a status that the vocabulary knows; a partial one with a note."""
        found = list(self.project.iter(f"{XMPP}SupportedXep"))
        numbers = []
        for xep in found:
            resource = xep.find(f"{XMPP}xep")
            assert resource is not None
            match = re.fullmatch(r"https://xmpp\.org/extensions/xep-(\d{4})\.html", resource.get(f"{RDF}resource", ""))
            assert match is not None
            numbers.append(match[1])
            status = xep.findtext(f"{XMPP}status")
            self.assertIn(status, {"complete", "partial", "planned"}, match[1])
            if status == "partial":
                self.assertTrue(xep.findtext(f"{XMPP}note"), match[1])
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertGreater(len(numbers), 10)


class DependenciesTests(unittest.TestCase):
    def test_each_is_explained(self) -> None:
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
        names = {match[0] for match in re.finditer(r"(?m)^[A-Za-z][\w-]*", "\n".join(lists))}
        text = (ROOT / "docs" / "dependencies.md").read_text("utf-8").lower()
        self.assertGreater(len(names), 8)
        for name in sorted(names):
            explained = re.search(rf"(?m)^\|[^|]*\b{re.escape(name.lower())}\b[^|]*\|", text)
            self.assertTrue(explained, f"{name} is not in docs/dependencies.md")


class ChangelogTests(unittest.TestCase):
    def test_this_version_is_in_it(self) -> None:
        text = (ROOT / "CHANGELOG.md").read_text("utf-8")
        self.assertRegex(text, rf"(?m)^## \[(Unreleased|{re.escape(__version__)})\]")


class SecurityTests(unittest.TestCase):
    """docs/security.md names the places in the code that check who is believed."""

    def test_each_place_is_there(self) -> None:
        text = (ROOT / "docs" / "security.md").read_text("utf-8")
        places = re.findall(r"`([\w/]+)\.py` `([\w.]+)`", text)
        self.assertGreater(len(places), 50)
        for file, name in places:
            found: Any = importlib.import_module("minimixproxy." + file.replace("/", "."))
            for part in name.split("."):
                found = getattr(found, part, None)
            self.assertIsNotNone(found, f"{file}.py has no {name}")
