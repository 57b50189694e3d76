"""The Debian package, for the Debian and the Python of this machine: `make deb` puts it into `dist`.

Built from a copy of the sources, so nothing is left in this tree. The version is that of the proxy.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from dist_check import ROOT, copy_of_sources

MAINTAINER = re.compile(r"(?m)^Maintainer: (.+)$")
PACKAGE = "minimixproxy"


def version() -> str:
    """Return the version of the proxy; it stands in this one place."""
    found = re.search(r'(?m)^__version__ = "([0-9.]+)"$', (ROOT / "minimixproxy" / "__init__.py").read_text())
    if found is None:
        raise SystemExit("minimixproxy/__init__.py has no __version__")
    return found[1]


def last_change() -> datetime:
    """Return when the sources were changed last: of that time is all in the package."""
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = done.stdout.strip() if done.returncode == 0 else ""
    return datetime.fromtimestamp(float(seconds or (ROOT / "CHANGELOG.md").stat().st_mtime), UTC)


def changelog(of: str) -> str:
    """Return Debian's changelog: one entry, for what changes is told in CHANGELOG.md."""
    found = MAINTAINER.search((ROOT / "debian" / "control").read_text())
    assert found is not None
    return (
        f"{PACKAGE} ({of}) unstable; urgency=medium\n\n  * Release {of}: see the upstream changelog.\n\n"
        f" -- {found[1]}  {format_datetime(last_change())}\n"
    )


def build(to: Path, of: str) -> Path:
    """Build version `of` and return the package, in the directory `to`. Raises SystemExit with what went wrong."""
    with tempfile.TemporaryDirectory(prefix="minimixproxy-deb-") as name:
        source = copy_of_sources(Path(name) / "source")
        (source / "debian" / "changelog").write_text(changelog(of))
        command = ["dpkg-buildpackage", "--build=binary", "--no-sign"]
        done = subprocess.run(command, cwd=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            sys.stdout.buffer.write(done.stdout)
            raise SystemExit(f"dpkg-buildpackage: exit status {done.returncode}")
        (package,) = Path(name).glob("*.deb")
        to.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(package, to))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="the directory that it is put into")
    chosen = parser.parse_args(arguments)
    print(build(chosen.to, version()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
