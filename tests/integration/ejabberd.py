"""ejabberd as a test server."""

import json
import os
from functools import cache
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from twisted.internet.threads import deferToThread

from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.servers import COMPONENT_SECRET, Account, Server, beside, converse, fill, in_path
from tests.patience import patiently

# Schedulers that have nothing to do would turn in a loop for a while, on processors that other tests need.
NO_SPINNING = ("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none")
LIBRARIES = Path("/usr/lib")
# ejabberd compiles a small module for each of its caches as it starts: without these passes that takes half the time.
COMPILER = (
    "[no_copt,no_bool_opt,no_share_opt,no_ssa_opt,no_recv_opt,no_bsm_opt,no_throw_opt,no_type_opt,no_jopt,no_postopt]"
)
# Modules that are loaded all at once cost half of what they cost one by one: the first start notes them for the next.
LOAD = 'case file:consult("@modules@") of {ok, [Modules]} -> code:ensure_modules_loaded(Modules); _ -> ok end.'
NOTE = """
Modules = [Module || {Module, [_ | _]} <- code:all_loaded()],
filelib:is_regular("@modules@") orelse file:write_file("@modules@", io_lib:format("~p.", [Modules])).
"""
# A console of one line: an expression of Erlang comes in, its value goes out.
CONSOLE = """
spawn(fun() ->
    {ok, Listener} = gen_tcp:listen(@port@, [{ip, {@address@}}, {packet, line}, {active, false}, {reuseaddr, true},
        {buffer, 65536}]),
    io:format("console listens~n"),
    Serve = fun Serve() ->
        {ok, Socket} = gen_tcp:accept(Listener),
        {ok, Line} = gen_tcp:recv(Socket, 0),
        {ok, Tokens, _} = erl_scan:string(Line),
        {ok, Parsed} = erl_parse:parse_exprs(Tokens),
        Value = (catch element(2, erl_eval:exprs(Parsed, []))),
        gen_tcp:send(Socket, io_lib:format("~tp", [Value])),
        gen_tcp:close(Socket),
        Serve()
    end,
    Serve()
end).
"""


class Ejabberd(Server):
    """ejabberd run by erl itself, as ejabberdctl wants root and the Erlang port mapper. SCRAM-SHA-256 and PLAIN."""

    name = "ejabberd"
    domain = "ejabberd.test"
    resuming = ""  # options of mod_stream_mgmt
    scram_hash = "sha256"  # by which passwords are kept; ejabberd's own default is sha

    @classmethod
    def missing(cls) -> str | None:
        return None if in_path("erl") and _libraries() else "ejabberd"

    def start(self) -> LoggedProcess:
        self.http_port = free_port()
        self.console_port = free_port()
        both = self.directory / "both.pem"
        both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())
        configuration = self.directory / "ejabberd.yml"
        configuration.write_text(self.configuration(both))
        modules = _for_all() / "modules"
        process = LoggedProcess(
            self.name,
            self.host.command(self._command(modules)),
            environment={
                "ERL_LIBS": str(_libraries()),
                "EJABBERD_CONFIG_PATH": str(configuration),
                "EJABBERD_LOG_PATH": str(self.directory / "ejabberd.log"),
                "EJABBERD_MSGS_PATH": str(_for_all() / "translations"),
                "ERL_COMPILER_OPTIONS": COMPILER,
                "ERL_CRASH_DUMP_BYTES": "0",
                "HOME": os.environ.get("HOME", str(self.directory)),
            },
            directory=self.directory,
        )
        process.wait_for(r"ejabberd [\d.-]+ is started in the node")
        process.wait_for("console listens")  # begun behind it, and by a process of its own
        return process

    def _command(self, modules: Path) -> list[str]:
        console = fill(CONSOLE, port=self.console_port, address=self.address.replace(".", ","))
        return [
            in_path("erl") or "erl",
            *NO_SPINNING,
            *("+P", "250000", "-noinput", "-mnesia", "dir", f'"{self.directory}/spool"'),
            *("-eval", fill(LOAD, modules=modules), "-s", "ejabberd"),
            *("-eval", console, "-eval", fill(NOTE, modules=modules)),
        ]

    def configuration(self, certificate: Path) -> str:
        """What stands in ejabberd.yml; `certificate` holds the key as well."""
        return fill(
            beside("ejabberd.yml"),
            domain=self.domain,
            muc=self.muc,
            address=self.address,
            port=self.port,
            direct_tls_port=self.direct_tls_port,
            component_port=self.component_port,
            component_secret=COMPONENT_SECRET,
            http_port=self.http_port,
            certificate=certificate,
            scram_hash=self.scram_hash,
            stream_management=f"  mod_stream_mgmt: {{{self.resuming}}}\n" if self.stream_management else "",
        )

    async def register(self, username: str, password: str) -> None:
        await self.call("register", user=username, host=self.domain, password=password)

    async def set_password(self, account: Account, password: str) -> Account:
        await self.call("change_password", user=account.username, host=account.domain, newpass=password)
        return account._replace(password=password)

    async def remove(self, account: Account) -> None:
        await self.call("unregister", user=account.username, host=account.domain)

    async def evaluate(self, code: str) -> str:
        return await deferToThread(converse, self.address, self.console_port, code.replace("\n", " ") + ".")

    async def sync(self) -> None:
        """Mnesia writes to disk a moment later."""
        await self.evaluate("mnesia:sync_log()")

    async def stop_rooms(self) -> None:
        """Everybody is told that the rooms were shut down (332); rooms that are not persistent are gone."""
        await self._module("stop")

    async def start_rooms(self) -> None:
        await self._module("start")

    async def _module(self, what: str) -> None:
        answer = await self.evaluate(f'gen_mod:{what}_module(<<"{self.domain}">>, mod_muc)')
        if not answer.startswith(("ok", "{ok")):
            raise AssertionError(f"ejabberd did not {what} mod_muc: {answer}")

    async def lose_rooms(self, *rooms: str) -> None:
        """Kill their processes; returns when nothing is sent to them any more: it would be lost."""
        for room in rooms:
            name, _, service = room.partition("@")
            find = f'{{ok, Pid}} = mod_muc:unhibernate_room(<<"{self.domain}">>, <<"{service}">>, <<"{name}">>)'
            kill = "Watch = monitor(process, Pid), exit(Pid, kill), receive {'DOWN', Watch, _, _, _} -> ok end"
            found = f'mod_muc_mnesia:find_online_room(<<"{self.domain}">>, <<"{name}">>, <<"{service}">>)'
            until_gone = f"fun Gone() -> case {found} of {{ok, Pid}} -> timer:sleep(1), Gone(); _ -> ok end end"
            answer = await self.evaluate(f"{find}, {kill}, ({until_gone})()")
            if answer != "ok":
                raise AssertionError(f"ejabberd did not lose {room}: {answer}")

    async def call(self, command: str, **arguments: object) -> object:
        """Run a command of ejabberdctl by mod_http_api."""
        return await deferToThread(self._call, command, arguments)

    def _call(self, command: str, arguments: dict[str, object]) -> object:
        request = Request(
            f"http://{self.address}:{self.http_port}/api/{command}",
            data=json.dumps(arguments).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=patiently(30)) as response:
                return json.load(response)
        except HTTPError as error:
            raise AssertionError(f"ejabberd refused {command}: {error.read().decode()}") from error


class ForgetfulEjabberd(Ejabberd):
    """ejabberd that keeps a stream without a connection for a moment only."""

    resuming = "resume_timeout: 2"


class UnmanagedEjabberd(Ejabberd):
    """ejabberd without stream management."""

    stream_management = False


@cache
def _libraries() -> Path | None:
    """The directory of Debian's Erlang libraries, which has the architecture in its name."""
    return next((found.parent.parent for found in LIBRARIES.glob("*/ejabberd-*/ebin")), None)


@cache
def _for_all() -> Path:
    """What all of them share: no translations, which each would read and compile anew."""
    directory = temporary_directory("erlang")
    (directory / "translations").mkdir()
    return directory
