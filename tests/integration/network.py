"""Hosts as network namespaces on one bridge. What one of them sends to another is lost when a test says so.

Each namespace is there as long as a program that holds it, which ends with this process: nothing is left behind. This
machine itself has one address on the bridge. `tc` and `nft` are not needed, which containers often have not.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence

from tests.integration.processes import LoggedProcess

NETWORKS = 512  # 198.18.0.0/15 is for tests of networks (RFC 2544): 512 times 256 addresses
NOWHERE = "02:00:00:00:00:01"  # a hardware address that no host has
PROGRAMS = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"}


def missing() -> str | None:
    """What keeps this process from making hosts."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return package
    if os.geteuid() != 0:
        return "(root, who may make network namespaces)"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"(leave to make network namespaces: {done.stderr.strip()})"


class Machine:
    """Where a program runs: this machine itself, by its loopback."""

    address = "127.0.0.1"

    def command(self, arguments: Sequence[str]) -> list[str]:
        """What to run instead, so that it runs there."""
        return list(arguments)


LOCAL = Machine()


class Host(Machine):
    """A network namespace with an address."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        # it ends when its input does
        self._holder = LoggedProcess(name, ["unshare", "--net", "sh", "-c", "echo ready; exec cat"], obeys=True)
        self._holder.wait_for("ready")
        self.pid = self._holder.pid
        self._unheard: set[str] = set()
        self.run("link set lo up")

    def command(self, arguments: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *arguments]

    def run(self, *lines: str) -> None:
        """Have `ip` do something in this namespace. Blocks, for a moment."""
        _ip(self.command(["ip", "-batch", "-"]), lines)

    def lose(self, *others: Host) -> None:
        """Nothing that this host sends to those arrives any more; what they send does."""
        self.run(*(f"neigh replace {one.address} lladdr {NOWHERE} dev eth0 nud permanent" for one in others))
        self._unheard |= {one.address for one in others}

    def reach(self, *others: Host) -> None:
        """It arrives again."""
        again = self._unheard & {one.address for one in others}
        self.run(*(f"neigh del {address} dev eth0" for address in sorted(again)))
        self._unheard -= again

    def stop(self) -> None:
        """The namespace is gone when the last program in it has ended."""
        self._holder.stop()


class Network:
    """A bridge, in a namespace of its own."""

    def __init__(self) -> None:
        self._switch = Host("switch", "")
        self._switch.run("link add bridge type bridge", "link set bridge up")
        self._numbers = itertools.count(2)
        self.hosts: list[Host] = []
        self.number = self._join()

    def _join(self) -> int:
        """Give this machine an address on the bridge; the name of its interface says which network is ours."""
        start = os.getpid() * 7
        for number in (n % NETWORKS for n in range(start, start + NETWORKS)):
            name, port = f"hosts{number}", f"port{number}"
            ends = f"link add {name} type veth peer name {port} netns {self._switch.pid}"
            if subprocess.run(["ip", *ends.split()], capture_output=True, check=False).returncode == 0:
                self._switch.run(f"link set {port} master bridge up")
                _ip(["ip", "-batch", "-"], [f"addr add {_address(number, 1)}/24 dev {name}", f"link set {name} up"])
                return number
        raise RuntimeError(f"none of {NETWORKS} networks can be made: is this process root's?")

    @property
    def range(self) -> str:
        """All of its addresses."""
        return f"{_address(self.number, 0)}/24"

    def host(self, name: str) -> Host:
        """Another host on the bridge."""
        number = next(self._numbers)
        host = Host(name, _address(self.number, number))
        port = f"host{number}"
        self._switch.run(
            f"link add {port} type veth peer name eth0 netns {host.pid}", f"link set {port} master bridge up"
        )
        host.run(f"addr add {host.address}/24 dev eth0", "link set eth0 up")
        self.hosts.append(host)
        return host

    def stop(self) -> None:
        """Remove everything; what runs in it is to have ended."""
        for host in (*self.hosts, self._switch):
            host.stop()


def cut(one: Host, other: Host) -> None:
    """Nothing arrives any more between two hosts, either way."""
    one.lose(other)
    other.lose(one)


def join(one: Host, other: Host) -> None:
    """It does again, whichever way it was lost."""
    one.reach(other)
    other.reach(one)


def _address(network: int, host: int) -> str:
    return f"198.{18 + network // 256}.{network % 256}.{host}"


def _ip(command: Sequence[str], lines: Sequence[str]) -> None:
    if not lines:
        return
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip: {done.stderr.strip()} in: {'; '.join(lines)}")
