"""The Debian package in a bare Debian 12: installed, used, upgraded, killed, removed, purged (`make deb-check`).

The Debian comes from debootstrap, with Prosody, and is kept below /var/cache for the next time. systemd-nspawn boots a
copy of it, with a network of its own that is loopback only, and the service runs as it does for an operator, with all
of its hardening. Where that cannot be, `chroot` has to do, and that is said. `tools/debcheck/inside` is what is run.

Exit status 0 if all of it holds. With --where-possible also where no Debian can be had or started, which is said.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import build_deb
from dist_check import ROOT

RELEASE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
BASE = ("systemd-sysv", "dbus", "python3", "adduser", "ca-certificates", "openssl", "iproute2")
LATER = ("prosody",)  # depends on what several packages provide, which debootstrap does not understand
CACHE = Path("/var/cache/minimixproxy")
OLDEST = 7 * 86400.0  # seconds that a Debian is kept
LONGEST = 600.0  # seconds that the check may take
INSIDE = Path(__file__).resolve().parent / "debcheck"
HOLDS = "THE PACKAGE HOLDS"
UNIT = """
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/check/inside
StandardOutput=file:/check/log
StandardError=file:/check/log
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
"""
#: What lintian is not to complain of. The rest are matters of Debian's archive.
FATAL = re.compile(r"(?m)^[EW]: (?!minimixproxy: (initial-upload-closes-no-bugs|copyright-without-copyright-notice))")


class NotHere(Exception):
    """This machine cannot make or start a Debian; `str()` says why. Nothing is known of the package then."""


def run(*command: str | Path, **options: object) -> None:
    """Run a command whose output is shown if it fails. Raises SystemExit then."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options
    )
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout)
        raise SystemExit(f"{command[0]}: exit status {done.returncode}")


def debian() -> Path:
    """Return a bare Debian as a tar file, made if there is none, or an old one."""
    made = CACHE / f"{RELEASE}.tar"
    if made.exists() and time.time() - made.stat().st_mtime < OLDEST:
        return made
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="minimixproxy-debian-", dir=CACHE) as name:
        root = Path(name, "root")
        try:
            run("debootstrap", "--variant=minbase", f"--include={','.join(BASE)}", RELEASE, root, MIRROR)
        except SystemExit as error:
            raise NotHere(f"no Debian from {MIRROR}: {error}") from error
        shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
        policy = root / "usr" / "sbin" / "policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        run("chroot", root, "apt-get", "update", "--quiet")
        run("chroot", root, "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *LATER)
        policy.unlink()  # as on a machine of an operator's
        run("chroot", root, "apt-get", "clean")
        run("tar", "--directory", root, "--create", "--file", Path(name, "tar"), ".")
        return Path(name, "tar").rename(made)


def earlier(package: Path, to: Path) -> Path:
    """Return the same package with a version before its own: an upgrade is what it is from any."""
    with tempfile.TemporaryDirectory(prefix="minimixproxy-before-") as name:
        run("dpkg-deb", "--raw-extract", package, Path(name, "x"))
        control = Path(name, "x", "DEBIAN", "control")
        control.write_text(re.sub(r"(?m)^Version: (.*)$", r"Version: \1~before", control.read_text()))
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", Path(name, "x"), to)
    return to


def lint(package: Path) -> None:
    """Have lintian look at the package. Raises SystemExit for what it calls an error, or warns of."""
    command = ["lintian", "--tag-display-limit", "0", str(package)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    if FATAL.search(said):
        raise SystemExit(f"lintian:\n{said}")
    print("deb-check: lintian has nothing to say")


def prepared(package: Path, root: Path) -> Path:
    """Fill a directory with a bare Debian in which the check is ready to run; return its folder there."""
    root.mkdir()
    run("tar", "--directory", root, "--extract", "--file", debian())
    folder = root / "check"
    shutil.copytree(INSIDE, folder)
    shutil.copy(package, folder / "new.deb")
    earlier(package, folder / "before.deb")
    (root / "etc/systemd/system/minimixproxy-check.service").write_text(UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "minimixproxy-check.service").symlink_to("../minimixproxy-check.service")
    return folder


def booted(root: Path) -> None:
    """Boot it, and wait for its end."""
    options = ("--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe", "--quiet")
    log = (root / "check" / "boot").open("wb")
    command = ["systemd-nspawn", *options, "--directory", str(root)]
    with log, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as machine:
        try:
            machine.wait(LONGEST)
        except subprocess.TimeoutExpired:
            machine.terminate()
            machine.wait()


def without_systemd(root: Path) -> None:
    """Run the check in namespaces of its own; all that it started ends with it."""
    inner = 'ip link set lo up; exec chroot "$1" sh -c "mount -t proc proc /proc; exec /check/inside"'
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inner, "sh", str(root)]
    with (root / "check" / "log").open("wb") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=LONGEST)


def check(package: Path) -> bool:
    """Return whether the package holds; what was done is printed."""
    with tempfile.TemporaryDirectory(prefix="minimixproxy-deb-check-") as name:
        root = Path(name, "root")
        log = prepared(package, root) / "log"
        booted(root)
        if not log.exists():
            print("deb-check: systemd-nspawn cannot boot here: what follows is WITHOUT systemd")
            without_systemd(root)
        if not log.stat().st_size:
            raise NotHere("neither systemd-nspawn nor chroot can start anything")
        said = log.read_text(errors="replace")
    print(said)
    return HOLDS in said


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, nargs="?", help="built if it is not given")
    parser.add_argument("--where-possible", action="store_true", help="succeed where no Debian can be had or started")
    chosen = parser.parse_args(arguments)
    package = chosen.package or build_deb.build(ROOT / "dist", build_deb.version())
    lint(package)
    try:
        if os.geteuid() != 0:
            raise NotHere("run as root: it makes a Debian, and boots it")
        return 0 if check(package) else 1
    except NotHere as reason:
        print(f"deb-check: THE PACKAGE WAS BUILT, BUT NOT TRIED: {reason}")
        return 0 if chosen.where_possible else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
