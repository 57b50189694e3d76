"""Wheel, sdist and editable installs, each in a fresh environment: does twistd run the plugin, and live on without it?

Run by `make dist-check`. Exit status 0 if all of it holds.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = """
state = "state.sqlite"
[[listen]]
endpoint = "tcp:5222"
[domain."example.org"]
"""
# An sdist must be enough to test from.
IN_SDIST = (
    "Makefile",
    "LICENSE",
    "tests/config/test_config.py",
    "tests/integration/ejabberd.yml",
    "tools/run_trial.py",
)
MADE_HERE = (".git", ".venv", "build", "dist", "*.egg-info", "_trial_temp*", "__pycache__", ".*_cache", "dropin.cache")
NEVER_IN_WHEEL = ("twisted/__init__.py", "twisted/plugins/__init__.py")


class CheckFailed(Exception):
    """Something that must hold does not."""


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """Run a command outside the source tree and return its output. Raises CheckFailed for another exit status."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != status:
        raise CheckFailed(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def check(condition: bool, what: str) -> None:
    if not condition:
        raise CheckFailed(what)


def copy_of_sources(to: Path) -> Path:
    """A source tree in which nothing that was built or installed before can help."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*MADE_HERE), symlinks=True)
    return to


def build(source: Path, to: Path) -> tuple[Path, Path]:
    """Build and look into both distributions; returns wheel and sdist."""
    environment = Environment(to / "build-environment")
    environment.pip("install", "build")
    run(environment.python, "-m", "build", "--outdir", to, source, cwd=to)
    wheel, sdist = next(to.glob("*.whl")), next(to.glob("*.tar.gz"))
    names = run(environment.python, "-m", "zipfile", "--list", wheel, cwd=to)
    for unwanted in NEVER_IN_WHEEL:
        check(unwanted not in names, f"{unwanted} must not be in the wheel: uninstalling would break Twisted")
    packages = sorted({path.parent for path in (source / "minimixproxy").rglob("*.py")})
    for package in packages:
        for module in package.glob("*.py"):
            name = str(module.relative_to(source))
            check(name in names, f"{name} is not in the wheel: is its package named in setup.cfg?")
    listed = run(environment.python, "-m", "tarfile", "--list", sdist, cwd=to)
    for wanted in IN_SDIST:
        check(f"/{wanted}" in listed, f"{wanted} is not in the sdist: see MANIFEST.in")
    return wheel, sdist


class Environment:
    """A fresh virtual environment."""

    def __init__(self, path: Path) -> None:
        venv.create(path, with_pip=True)
        self.python = path / "bin" / "python"
        self.twistd = path / "bin" / "twistd"
        self.directory = path

    def pip(self, *arguments: str | Path) -> None:
        run(self.python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments, cwd=self.directory)

    def check_plugin(self) -> None:
        """twistd lists the plugin, shows its options, accepts a good file and refuses a bad one."""
        configuration = self.directory / "minimixproxy.toml"
        configuration.write_text(CONFIGURATION)
        check("minimixproxy" in run(self.twistd, "--help", cwd=self.directory), "twistd does not list the plugin")
        check("--config" in run(self.twistd, "minimixproxy", "--help", cwd=self.directory), "no --config in the help")
        command = (self.twistd, "-n", "minimixproxy", "--config", configuration, "--check")
        run(*command, cwd=self.directory)
        configuration.write_text(CONFIGURATION.replace("endpoint", "endpiont"))
        said = run(*command, cwd=self.directory, status=1)
        check("did you mean endpoint" in said and "Traceback" not in said, f"a bad file is answered by {said}")

    def check_uninstall(self) -> None:
        self.pip("uninstall", "--yes", "minimixproxy")
        check("minimixproxy" not in run(self.twistd, "--help", cwd=self.directory), "the plugin is still listed")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="minimixproxy-dist-") as name:
        directory = Path(name)
        source = copy_of_sources(directory / "source")
        wheel, sdist = build(source, directory)
        kinds: dict[str, list[str | Path]] = {"wheel": [wheel], "sdist": [sdist], "editable": ["--editable", source]}
        for kind, arguments in kinds.items():
            print(f"dist-check: {kind}", flush=True)
            environment = Environment(directory / kind)
            environment.pip("install", *arguments)
            environment.check_plugin()
            environment.check_uninstall()
    print("dist-check: all three can be installed, run and removed")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CheckFailed as failure:
        sys.exit(f"dist-check failed: {failure}")
