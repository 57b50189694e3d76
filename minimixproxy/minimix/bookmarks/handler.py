"""Bookmarks as a subprotocol of the account stream: with it comes the time to read them."""

from __future__ import annotations

from wokkel.subprotocols import XMPPHandler

from minimixproxy.minimix.bookmarks.follower import BookmarkFollower


class BookmarkHandler(XMPPHandler):  # type: ignore[misc]
    """Tells the follower of bookmarks that the stream is open."""

    def __init__(self, follower: BookmarkFollower) -> None:
        super().__init__()
        self._follower = follower

    def connectionInitialized(self) -> None:
        """The stream is open (again): bookmarks may have changed in between."""
        self._follower.stream_opened()
