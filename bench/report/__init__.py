"""What is reported: the document's head and conditions here, each section in a module of its own."""

import hashlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import twisted
from OpenSSL import SSL

from bench.scale import QUICK
from tests.integration.servers import in_path

HEAD = """# Benchmarks

Written by `make bench WRITE=1 PROSODY_MODULES=/path/to/prosody-modules`; run it again rather than believe it. CPU is
user and system time of the processes named, in microseconds; those of clients, senders and the echo server are not in
it. Of each measurement there are five slices or more, and the median is shown. Ratios hold better than the times: these
differ from machine to machine, and with what else runs there. This is one run: what is near its goal changes sides from
run to run. *Before*: the same in the run before. All figures: `benchmarks/results.json`, and `results-before.json`.
"""

# Conditions --------------------------------------------------------------------------------------------------------


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1).strip() if found else "unknown"


def _version(program: str, *arguments: str) -> str:
    path = in_path(program)
    if path is None:
        return "none"
    output = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    return _first(r"(\d+\.\d+[\w.+~-]*)", output.stdout + output.stderr)


def conditions(prosody_modules: Path | None, load: tuple[float, float, float]) -> str:
    """What the numbers depend on."""
    from twisted.internet import reactor  # the one that twistd takes too, unless told otherwise

    memory_size = int(_first(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())) / 2**20
    lines = [
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load average at the start {load[0]:.1f}, {load[1]:.1f}",
        f"- {os.cpu_count()} cores, {_first(r'^model name.*: (.*)', Path('/proc/cpuinfo').read_text())},"
        f" {memory_size:.0f} GiB, Linux {platform.release()}; everything on this machine, over loopback",
        f"- Python {platform.python_version()} ({Path(sys.executable).resolve()}), Twisted {twisted.__version__},"
        f" {type(reactor).__name__}, {SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split(' (')[0]}",
        f"- Prosody {_version('prosodyctl', 'about')}, HAProxy {_version('haproxy', '-v')} (one thread)",
    ]
    if QUICK:
        lines.append("- a quick run (QUICK=1): less of everything, while goals are those of the whole")
    if prosody_modules is None:
        lines.append("- without a checkout of prosody-modules: nothing is compared with mod_minimix")
    else:
        digest = hashlib.sha256((prosody_modules / "mod_minimix" / "mod_minimix.lua").read_bytes()).hexdigest()
        lines.append(f"- mod_minimix.lua with SHA-256 {digest[:16]}…, unchanged")
    return "\n".join(["## Conditions", "", *lines, ""])
