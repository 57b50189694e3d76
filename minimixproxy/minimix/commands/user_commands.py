"""What an account's owner may see and do by ad-hoc commands: rooms, leave, detach, enroll, tokens, forget. Pure.

`executions.py` has the protocol, this file what the commands say and do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from minimixproxy.minimix.commands.executions import Command, Done, Stage
from minimixproxy.minimix.commands.report import Occupied, RoomReport, listed, resource_of, room_reports
from minimixproxy.minimix.interfaces.enrolling import Enrolled, NotEnrolled
from minimixproxy.minimix.interfaces.journal import TokenDevice
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.xep.data_forms import Field, Form, Values, fixed, table
from minimixproxy.xep.delays import format_time

MAX_SHOWN = 500  # rooms in one form or table; a stanza has to stay in bounds
MAX_NOTED = 50  # rooms in a note, for clients that show no table
MAX_PASSWORD = 1023  # bytes
ALL_ROOMS = "*"
NOT_ENROLLED = (
    "This account is not enrolled: its devices join rooms by themselves, and are out when they disconnect. "
    "To change that, execute the command enroll, or log in once with the password as it is (PLAIN)."
)
_LEAVING = "leaving"
_COLUMNS = (
    ("room", "Room"),
    ("nick", "Nick"),
    ("state", "State"),
    ("bookmarked", "Bookmarked"),
    ("devices", "Devices"),
    ("messages", "Messages kept"),
)


class Owned(Protocol):
    """The account, as its owner deals with it. Rooms by bare JID."""

    @property
    def is_enrolled(self) -> bool:
        """Whether the account can be in rooms by itself."""

    @property
    def rooms(self) -> Mapping[str, Occupied]:
        """The rooms that it is in."""

    @property
    def sessions(self) -> Collection[SessionPort]:
        """The clients that are connected."""

    def leave(self, room: str) -> None:
        """Leave a room."""

    def detach_device(self, session: SessionPort, room: str | None) -> None:
        """Show a session out of a room, or out of all with None; the account stays."""

    def enroll(self, password: str) -> Awaitable[Enrolled]:
        """Ask the server about the account's password, and keep what it leaves. Raises `NotEnrolled`."""

    @property
    def token_devices(self) -> Sequence[TokenDevice]:
        """The devices that log in by a token."""

    def withdraw_token(self, device: str) -> None:
        """A device is to log in by its token no more."""

    def forget(self) -> None:
        """Leave all rooms and forget everything; the sessions stay connected."""


class UserCommands:
    """The commands on one account."""

    def __init__(self, account: Owned) -> None:
        self._account = account

    def offered(self) -> list[Command]:
        """Return the commands, in the order in which they are listed."""
        return [
            Command("rooms", "Rooms the account is in", self._rooms),
            Command("leave", "Leave rooms", self._leave),
            Command("detach", "Detach a device from rooms", self._detach),
            Command("enroll", "Let the account join rooms by itself", self._enroll),
            Command("tokens", "Withdraw what devices log in by", self._tokens),
            Command("forget", "Leave all rooms and forget everything", self._forget),
        ]

    def _reports(self) -> list[RoomReport]:
        """What is to be told of each room, but for those that the account is leaving already."""
        return [report for report in room_reports(self._account.rooms.values()) if report.state != _LEAVING]

    # rooms -----------------------------------------------------------------------------------------------------

    def _rooms(self, _asker: object) -> Done:
        reports = self._reports()
        not_enrolled = [] if self._account.is_enrolled else [NOT_ENROLLED]
        if not reports:
            return Done("\n".join(["The account is in no room.", *not_enrolled]))
        lines = [*not_enrolled, f"The account is in {_count(len(reports), 'room')}."]
        lines += [_line(report) for report in reports[:MAX_NOTED]]
        if len(reports) > MAX_NOTED:
            lines.append(f"And {len(reports) - MAX_NOTED} more.")
        rows = [
            (
                report.room,
                report.nick,
                report.state,
                "yes" if report.bookmarked else "no",
                listed(report),
                str(report.messages),
            )
            for report in reports[:MAX_SHOWN]
        ]
        return Done("\n".join(lines), table("Rooms the account is in", _COLUMNS, rows))

    # leave -----------------------------------------------------------------------------------------------------

    def _leave(self, _asker: object) -> Stage | Done:
        reports = self._reports()
        if not reports:
            return Done("The account is in no room.")
        options = tuple((report.room, _line(report)) for report in reports[:MAX_SHOWN])
        form = Form(
            "Leave rooms",
            "The account leaves the rooms chosen here, with all of its devices.",
            (Field("rooms", "list-multi", "Rooms", options=options),),
        )
        return Stage(form, finish=self._left)

    def _left(self, values: Values) -> Done:
        chosen = [room for room in values["rooms"] if room in self._account.rooms]
        for room in chosen:
            self._account.leave(room)
        if not chosen:
            return Done("The account was in none of these rooms any more.")
        return Done(f"The account leaves {_enumeration(chosen)}.")

    # detach ----------------------------------------------------------------------------------------------------

    def _detach(self, asker: object) -> Stage | Done:
        rooms_of = {session: self._rooms_of(session) for session in self._account.sessions}
        options = sorted(
            (session.jid, _device(session, asker, len(rooms))) for session, rooms in rooms_of.items() if rooms
        )
        if not options:
            return Done("No device is in a room.")
        form = Form(
            "Detach a device",
            "The device is removed from its rooms, and told why; the account stays. The next step offers single rooms.",
            (Field("device", "list-single", "Device", options=tuple(options)),),
        )
        return Stage(form, then=self._device_chosen, finish=lambda values: self._detached(values["device"][0], None))

    def _device_chosen(self, values: Values) -> Stage | Done:
        jid = values["device"][0]
        session = self._session(jid)
        rooms = self._rooms_of(session) if session is not None else []
        if not rooms:
            return Done("That device is in no room any more.")
        options = ((ALL_ROOMS, "All rooms"), *((room, room) for room in rooms[:MAX_SHOWN]))
        form = Form(
            "Detach a device",
            f"The rooms that {jid.partition('/')[2]} is to be shown out of.",
            (Field("room", "list-single", "Room", (ALL_ROOMS,), options),),
        )

        def finish(values: Values) -> Done:
            (room,) = values["room"]
            return self._detached(jid, None if room == ALL_ROOMS else room)

        return Stage(form, finish=finish)

    def _detached(self, jid: str, room: str | None) -> Done:
        session = self._session(jid)
        rooms = self._rooms_of(session) if session is not None else []
        if session is None or not rooms or (room is not None and room not in rooms):
            return Done("That device is not there any more.")
        self._account.detach_device(session, room)
        return Done(f"{resource_of(session)} is detached from {_enumeration(rooms if room is None else [room])}.")

    def _session(self, jid: str) -> SessionPort | None:
        return next((session for session in self._account.sessions if session.jid == jid), None)

    def _rooms_of(self, session: SessionPort) -> list[str]:
        return sorted(room for room, occupancy in self._account.rooms.items() if session in occupancy.attached)

    # enroll ----------------------------------------------------------------------------------------------------

    def _enroll(self, _asker: object) -> Stage:
        known = "The proxy can log in as this account." if self._account.is_enrolled else NOT_ENROLLED
        form = Form(
            "Let the account join rooms by itself",
            "The password is checked at the server. What SCRAM leaves of it is kept, which is good there only.",
            (fixed(known), Field("password", "text-private", "Password")),
        )
        return Stage(form, finish=self._enrolled)

    def _enrolled(self, values: Values) -> Done | Deferred[Done]:
        (password,) = values["password"] or ("",)
        if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD:
            return Done("That is no password: it is too long.", failed=True)
        return Deferred.fromCoroutine(self._ask(password))

    async def _ask(self, password: str) -> Done:
        try:
            enrolled = await self._account.enroll(password)
        except NotEnrolled as error:
            return Done(f"Nothing was kept: {error}.", failed=True)
        if enrolled.lasts:
            return Done(
                "The account joins rooms by itself from now on. A device that is in a room has to join it anew."
            )
        return Done(
            "The account joins rooms by itself until the proxy is restarted: the server leaves no keys that last."
        )

    # tokens ----------------------------------------------------------------------------------------------------

    def _tokens(self, asker: object) -> Stage | Done:
        devices = self._account.token_devices
        if not devices:
            return Done("No device logs in by a token.")
        own = next((session.device for session in self._account.sessions if session is asker), "")
        options = tuple((device.id, _token_of(device, own)) for device in devices[:MAX_SHOWN])
        form = Form(
            "Withdraw tokens",
            "These devices log in by a token, without the password. One that is chosen here is disconnected, unless it "
            "is this one, and needs the password the next time.",
            (Field("devices", "list-multi", "Devices", options=options),),
        )
        return Stage(form, finish=lambda values: self._withdrawn(values, asker))

    def _withdrawn(self, values: Values, asker: object) -> Done:
        known = {device.id for device in self._account.token_devices}
        chosen = [device for device in values["devices"] if device in known]
        for device in chosen:
            self._account.withdraw_token(device)
        # Who has the device could stay for ever; what sleeps would keep room for it.
        for session in [one for one in self._account.sessions if one.device in chosen and one is not asker]:
            session.close("reset", "your device has to log in with the password")
        if not chosen:
            return Done("None of these devices has a token any more.")
        return Done(f"{_count(len(chosen), 'token')} withdrawn.")

    # forget ----------------------------------------------------------------------------------------------------

    def _forget(self, _asker: object) -> Stage:
        warning = (
            f"The account leaves all rooms ({len(self._reports())} now). The messages that are kept of them, and "
            "what is kept to log in without a client, are deleted. Connected devices stay connected; a device that "
            "joins a room makes the account join anew."
        )
        confirm = Field("confirm", "boolean", "Leave all rooms and forget everything", ("0",), required=False)
        form = Form("Forget this account", "This cannot be undone.", (fixed(warning), confirm))
        return Stage(form, finish=self._forgotten)

    def _forgotten(self, values: Values) -> Done:
        if values["confirm"] != ("1",):
            return Done("Nothing was forgotten: it was not confirmed.", failed=True)
        self._account.forget()
        return Done("The account leaves all rooms, and everything kept of it is forgotten.")


def _line(report: RoomReport) -> str:
    devices = listed(report) or "no device"
    bookmark = ", bookmarked" if report.bookmarked else ""
    return f"{report.room} as {report.nick}: {report.state}, {devices}, {_count(report.messages, 'message')}{bookmark}"


def _token_of(device: TokenDevice, own: str) -> str:
    this = " (this device)" if device.id == own else ""
    return f"{device.software or 'a device'}{this}, since {format_time(device.issued)[:10]}, {device.id[:8]}"


def _device(session: SessionPort, asker: object, rooms: int) -> str:
    own = " (this device)" if session is asker else " (asleep)" if session.asleep else ""
    return f"{resource_of(session)}{own}, in {_count(rooms, 'room')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _enumeration(rooms: list[str]) -> str:
    return rooms[0] if len(rooms) == 1 else f"{len(rooms)} rooms: {', '.join(rooms[:MAX_NOTED])}"
