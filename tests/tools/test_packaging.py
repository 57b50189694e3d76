"""What setup.cfg must say so that every kind of installation has the plugin. tools/dist_check.py tries it for real."""

import configparser
from pathlib import Path

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import IPlugin, getPlugins
from twisted.trial import unittest
from zope.interface.verify import verifyObject

from minimixproxy import __version__

ROOT = Path(__file__).resolve().parents[2]


class PackagingTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.setup = configparser.ConfigParser()
        self.setup.read(ROOT / "setup.cfg")

    def test_every_package_is_named(self) -> None:
        found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "minimixproxy").rglob("__init__.py")}
        self.assertEqual(set(self.setup["options"]["packages"].split()), found | {"twisted.plugins"})

    def test_the_root_is_mapped(self) -> None:
        self.assertEqual(self.setup["options"]["package_dir"].strip(), "= .")

    def test_nothing_of_twisted_itself(self) -> None:
        files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "twisted").rglob("*.py"))
        self.assertEqual(files, ["twisted/plugins/minimixproxy_plugin.py"])

    def test_version(self) -> None:
        self.assertEqual(self.setup["metadata"]["version"], "attr: minimixproxy.__version__")
        self.assertRegex(__version__, r"^\d+\.\d+\.\d+$")

    def test_plugin(self) -> None:
        makers = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "minimixproxy"]
        self.assertEqual(len(makers), 1)
        self.assertTrue(verifyObject(IPlugin, makers[0]))
        assert isinstance(makers[0], ServiceMaker)
        self.assertEqual(makers[0].module, "minimixproxy.tap")
