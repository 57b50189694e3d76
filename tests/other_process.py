"""Python programs of tests, in processes of their own: forked in a test run, where to import all takes a second."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TypeAlias

from tests.integration import prefork
from tests.patience import patiently

ROOT = Path(__file__).resolve().parent.parent


Process: TypeAlias = "subprocess.Popen[bytes] | prefork.Forked"


def start(*arguments: str) -> Process:
    """Start one, with pipes to talk to it. `arguments`: those of the interpreter."""
    command = [sys.executable, *arguments]
    if prefork.wanted():
        return prefork.forker().start(command, os.environ, ROOT, listens=True)
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def run(*arguments: str, prints: IO[bytes] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run one to its end. `prints`: into that."""
    command = [sys.executable, *arguments]
    if prefork.wanted():
        return prefork.forker().run(command, "", ROOT, patiently(60), prints=prints)
    out, error = prints or subprocess.PIPE, subprocess.PIPE
    return subprocess.run(command, cwd=ROOT, stdout=out, stderr=error, text=True, timeout=patiently(60), check=False)
