"""What is on each page, made of what status reports have. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.web.template import Tag, tags

from minimixproxy.logs.faults import Line
from minimixproxy.operator.explanation import stamp
from minimixproxy.operator.status_table import duration, size
from minimixproxy.operator.web.cluster_view import processes
from minimixproxy.operator.web.graphs import graph
from minimixproxy.operator.web.layout import (
    Node,
    account_link,
    address,
    command,
    facts,
    link,
    name,
    room_link,
    state,
    table,
)
from minimixproxy.operator.web.samples import Sample

Told = Mapping[str, Any]  # a part of a status report

FEW = 10  # faults on the overview
NAMES = 20  # devices in one cell

_WELL = frozenset({"blocked", "open", "closed", "opening", "resuming", "joined", "joining", "leaving"})


def overview(whole: Told, trouble: Sequence[Told], lines: Sequence[Line], graphs: Node) -> Node:
    """Return what is on the first page. `trouble`: accounts that are not where they mean to be, some of them."""
    return [
        health(whole),
        _proxy(whole),
        processes(whole["cluster"]),
        tags.h2("The last hour"),
        graphs,
        tags.h2("Accounts in trouble"),
        accounts_table("Accounts that are not where they mean to be", trouble, "None."),
        tags.p(tags.a("All in trouble", href=address("/accounts", state="trouble"))),
        tags.h2("Last faults"),
        faults("Warnings and errors, the last first", lines[:FEW]),
        tags.p(tags.a("More", href="/log")),
        _domains(whole["client_proxy"]),
    ]


def health(whole: Told) -> Tag:
    """Return whether all is well, and else what is not."""
    if whole["well"]:
        return tags.div(tags.strong("All is well."), class_="banner well")
    return tags.div(
        tags.strong("Something is wrong."),
        [tags.p(trouble["text"]) for trouble in whole["troubles"]],
        class_="banner trouble",
    )


def _proxy(whole: Told) -> Tag:
    totals, journal, stanzas = whole["totals"], whole["journal"], whole["stanzas"]
    return facts(
        [
            ("Version", f"{whole['version']}, Twisted {whole['twisted']}"),
            ("Up", f"{duration(whole['uptime'])}, process {whole['pid']}"),
            ("Configuration", name(whole["configuration"] or "-")),
            ("Journal", _journal(journal)),
            ("Sessions", f"{totals['sessions']}, of these asleep: {totals['sleeping']}"),
            ("Accounts", str(totals["accounts"])),
            ("Account streams", _numbers(totals["streams"], "/accounts")),
            ("Occupancies of rooms", _numbers(totals["rooms"], "/accounts")),
            ("Stanzas that could not be read", str(stanzas["skipped"])),
            ("Stanzas dropped by a fault of the proxy", str(stanzas["dropped"])),
        ]
    )


def _journal(journal: Told | None) -> Node:
    if journal is None:
        return "none"
    waiting = f", {size(journal['waiting'])} waiting"
    return [state("on disk" if journal["durable"] else "NOT ON DISK", well=journal["durable"]), waiting]


def _numbers(numbers: Mapping[str, int], path: str) -> Node:
    """Numbers by state, each with a link to those."""
    told: list[Node] = []
    for text, number in numbers.items():
        told += [", " if told else "", tags.a(f"{number} {text}", href=address(path, state=text))]
    return told or "none"


def graphs(samples: Sequence[Sample]) -> Tag:
    """Return the graphs."""
    return tags.div(
        graph("Sessions", [sample.sessions for sample in samples], lambda value: f"{value:.0f}"),
        graph("Stanzas a second", [sample.stanzas for sample in samples], lambda value: f"{value:.1f}"),
        graph("Reactor lag", [sample.lag for sample in samples], lambda value: f"{1000 * value:.0f} ms"),
        class_="graphs",
    )


def _connected(domain: Told) -> Node:
    if domain["standing_by"]:
        return f"by {domain['holder']}" if domain["holder"] else "stands by"
    return state("yes" if domain["connected"] else "no", well=domain["connected"])


def _domains(domains: Sequence[Told]) -> Node:
    if not domains:
        return []
    rows: list[list[Node]] = [
        [
            name(domain["domain"]),
            _connected(domain),
            str(domain["resources"]),
            str(domain["requests"]),
            _names([f"{target} ({status})" for target, status in domain["targets"].items()]),
        ]
        for domain in domains
    ]
    head = ("Domain", "Connected", "Resources", "Open requests", "Targets")
    return [tags.h2("client_proxy"), table("Component domains", head, rows, "")]


# Accounts ------------------------------------------------------------------------------------------------------------


def accounts_table(caption: str, accounts: Sequence[Told], empty: str) -> Tag:
    """Return a table of accounts."""
    head = ("Account", "Stream", "Devices", "Rooms", "Out of", "Not in")
    rows: list[list[Node]] = [
        [
            account_link(account["account"]),
            _stream(account),
            _devices(account["devices"], account["asleep"]),
            str(len(account["rooms"]) + account["rooms_left_out"]),
            str(account["out_of"]),
            str(len(account["not_in"])),
        ]
        for account in accounts
    ]
    return table(caption, head, rows, empty)


def _stream(account: Told) -> Node:
    told: list[Node] = [state(account["stream"], well=account["stream"] in _WELL)]
    if account["stream"] not in ("open", "closed", "blocked"):
        told.append(f", next try in {account['opens_in']:.0f} s" if account["opens_in"] else "")
        told.append([": ", name(account["fault"]["text"])] if account["fault"] else "")
    return told


def _devices(devices: Sequence[str], asleep: Sequence[str]) -> Node:
    return _names([f"{device} (asleep)" if device in asleep else device for device in devices])


def _names(names: Sequence[str]) -> Node:
    told: list[Node] = []
    for one in names[:NAMES]:
        told += [", " if told else "", name(one)]
    rest = len(names) - NAMES
    return [told or "none", f" and {rest} more" if rest > 0 else ""]


def account(told: Told, more: Node) -> Node:
    """Return what is on an account's page; `more`: the way to its other rooms."""
    bare = told["account"]
    quoted = shlex.quote(bare)  # for a shell: an address may be `$(…)@example.org`
    return [
        facts(
            [
                ("Stream", _stream(told)),
                ("Login known", "yes" if told["enrolled"] else "no"),
                ("Last fault of the stream", _fault(told["fault"])),
                ("Devices", _devices(told["devices"], told["asleep"])),
                ("Of these asleep", _names(told["asleep"])),
            ]
        ),
        tags.h2("Rooms"),
        _rooms(bare, told["rooms"]),
        more,
        tags.h2("Not in"),
        _not_in(bare, told["not_in"]),
        tags.h2("What can be done"),
        tags.ul(
            tags.li("Know its login, so that it joins rooms by itself: ", command(f"minimixproxy enroll {quoted}")),
            tags.li("Keep it out: ", command(f"minimixproxy block {quoted}")),
            tags.li("If it was deleted at the server: ", command(f"minimixproxy forget {quoted}")),
            tags.li("The user's own client can execute commands on it: rooms, leave, detach."),
        ),
    ]


def _fault(fault: Told | None) -> Node:
    return [name(fault["text"], 300), f", {fault['at']}"] if fault is not None else "none"


def _rooms(bare: str, rooms: Sequence[Told]) -> Tag:
    head = ("Room", "State", "Nick", "Devices", "Messages", "Bookmarked", "Last reason")
    rows: list[list[Node]] = [
        [
            room_link(room["room"]),
            _room_state(room),
            name(room["nick"]),
            _devices(room["devices"], room["asleep"]),
            str(room["messages"]),
            "yes" if room["bookmarked"] else "no",
            _reason(bare, room["room"], room["last"]),
        ]
        for room in rooms
    ]
    return table("Rooms that it is in, or means to come back to", head, rows, "None.")


def _room_state(room: Told) -> Node:
    told: list[Node] = [state(room["state"], well=room["state"] in _WELL)]
    if room["attempts"] or room["next_attempt_in"]:
        told.append(f", {room['attempts']} attempts")
    if room["next_attempt_in"]:
        told.append(f", next in {room['next_attempt_in']:.0f} s")
    return told


def _reason(bare: str, room: str, record: Told | None) -> Node:
    if record is None:
        return "-"
    told: list[Node] = [link(record["why"], "/account", jid=bare, room=room), f", {record['at']}"]
    for text in (record["condition"], record["by"], record["text"]):
        told += [", ", name(text)] if text else []
    return told


def _not_in(bare: str, records: Sequence[Told]) -> Tag:
    rows: list[list[Node]] = [[room_link(record["room"]), _reason(bare, record["room"], record)] for record in records]
    return table("Rooms that it is not in, and why", ("Room", "Reason"), rows, "No reason is known for any room.")


def answer(told: Told) -> Tag:
    """Return why an account is in a room, or is not."""
    where = "is in" if told["in"] else "is not in"
    return tags.section(
        tags.h2("Why"),
        tags.p(account_link(told["account"]), f" {where} ", room_link(told["room"]), ": ", tags.bdi(told["text"]), "."),
        tags.p("Look at: ", tags.bdi(told["check"]), ".") if told["check"] else "",
        class_=f"banner {'well' if told['in'] else 'trouble'}",
        id="why",
    )


# Rooms and faults ----------------------------------------------------------------------------------------------------


def room_accounts(room: str, accounts: Sequence[Told]) -> Tag:
    """Return which accounts are in a room, or are not, and in what state."""
    head = ("Account", "State", "Nick", "Devices there", "Reason")
    rows: list[list[Node]] = []
    for told in accounts:
        here = next(iter(told["rooms"]), None)
        record = here["last"] if here is not None else next(iter(told["not_in"]), None)
        rows.append(
            [
                account_link(told["account"], room),
                _room_state(here) if here is not None else state("not in it", well=False),
                name(here["nick"]) if here is not None else "-",
                _devices(here["devices"], here["asleep"]) if here is not None else "-",
                _reason(told["account"], room, record),
            ]
        )
    return table("Accounts that are in it, or were, or were to be", head, rows, "No account here knows this room.")


def faults(caption: str, lines: Sequence[Line]) -> Tag:
    """Return the last warnings and errors."""
    rows: list[list[Node]] = [
        [
            tags.time(stamp(line.when), datetime=stamp(line.when)),
            state(line.level, well=line.level == "warn"),
            tags.bdi(line.text),
        ]
        for line in lines
    ]
    return table(caption, ("Time", "Level", "What"), rows, "None since the start.")
