"""What is known of a room's bookmark, for whoever asks why the account is not in the room. Pure."""

from __future__ import annotations

from enum import Enum


class Says(Enum):
    """The values are in status reports: docs/status.md lists them."""

    OFF = "off"  # bookmarks are not read, by the configuration
    NOT_READ = "not-read"  # not yet, or the server has not answered
    REFUSED = "refused"  # the server gives none
    NONE = "none"  # there is no bookmark of the room
    AUTOJOIN = "autojoin"
    NO_AUTOJOIN = "no-autojoin"
    NOT_FOLLOWED = "not-followed"  # it says to join, but the account was put out, or has left, after it was written
