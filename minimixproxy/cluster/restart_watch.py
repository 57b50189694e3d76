"""Where the first stream of a client ends, in the bytes of the process that holds its account. Pure.

Behind a success of SASL (RFC 6120 §6.4.6) a new stream begins. A WebSocket has to know, for there the header of a
stream is another element than in it; and whoever ends a stream of which no header has been said has to say that first.
Until then all that is said is made by this program, so it is known by its bytes.
"""

from __future__ import annotations

from minimixproxy.namespaces import NS_SASL, NS_SASL2

LONGEST = 16384  # bytes of a success: what it proves to the client is far less
_SUCCESS = b"<success xmlns='%b'" % NS_SASL.encode()
_SUCCESS_SASL2 = b"<success xmlns='%b'" % NS_SASL2.encode()  # behind which the stream goes on
_END = b"</success>"


class RestartWatch:
    """`over`: there is nothing more to watch for."""

    def __init__(self) -> None:
        self._kept = b""
        self.over = False

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take bytes; return those of the first stream that may go on, and those of the second one.

        None: it has not begun. What may be the beginning of a success is kept until it is whole.
        """
        data = self._kept + data
        start = data.find(_SUCCESS)
        if start < 0 or _SUCCESS_SASL2 in data[:start]:
            return self._not_found(data), None
        end = _end_of_success(data, start)
        if end < 0 and len(data) - start <= LONGEST:
            self._kept = data[start:]
            return data[:start], None
        self._kept, self.over = b"", True
        return (data, None) if end < 0 else (data[:end], data[end:])

    def _not_found(self, data: bytes) -> bytes:
        if _SUCCESS_SASL2 in data:
            self._kept, self.over = b"", True
            return data
        last = data.rfind(b"<")
        begun = data[last:] if last >= 0 else b""
        kept = len(begun) if begun and (_SUCCESS.startswith(begun) or _SUCCESS_SASL2.startswith(begun)) else 0
        self._kept = data[len(data) - kept :]
        return data[: len(data) - kept]


def _end_of_success(data: bytes, start: int) -> int:
    """Return the offset behind the element that begins at `start`, -1 if it is not whole."""
    tag = data.find(b">", start) + 1
    if not tag or data[tag - 2 : tag] == b"/>":
        return tag or -1
    end = data.find(_END, tag)
    return end + len(_END) if end >= 0 else -1
