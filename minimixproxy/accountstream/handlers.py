"""The three subprotocols of the account stream, as Wokkel handlers: stream events in, calls on the account out."""

from __future__ import annotations

from typing import Any

from twisted.words.xish.xpath import XPathQuery
from wokkel.subprotocols import XMPPHandler

from minimixproxy.minimix.account import Account
from minimixproxy.safety_net import NET
from minimixproxy.wire.stanza import Stanza, UnusableStanza


class ByName(XPathQuery):
    """Matches as the query `/name` does, in any namespace, for a fraction of its work."""

    def __init__(self, name: str) -> None:
        super().__init__(f"/{name}")  # type: ignore[no-untyped-call]
        self._name = name

    def matches(self, stanza: Stanza) -> bool:
        """Tell whether the element has that name."""
        return stanza.name == self._name


class _AccountHandler(XMPPHandler):  # type: ignore[misc]
    """A handler that observes one kind of stanza for one account."""

    xmlstream: Any
    query: XPathQuery

    def __init__(self, account: Account) -> None:
        super().__init__()
        self.account = account

    def connectionInitialized(self) -> None:
        """Observe the stream from now on."""
        self.xmlstream.addObserver(self.query, self.take)

    def take(self, stanza: Stanza) -> None:
        """Hand a stanza on; one that cannot be read is left out, and a fault of ours costs that stanza only."""
        try:
            self.received(stanza)
        except UnusableStanza as error:
            self.account.cannot_use(stanza, str(error))
        except Exception:  # noqa: BLE001 (the edge: logged and counted)
            NET.caught(stanza, f"account stream of {self.account.bare}")

    def received(self, stanza: Stanza) -> None:
        """Hand a stanza to the account."""
        raise NotImplementedError


class MUCPresenceHandler(_AccountHandler):
    """MUC presence interception: what rooms show of their occupants and of us."""

    query = ByName("presence")

    def received(self, stanza: Stanza) -> None:
        """A presence: the occupancy updates itself and forks."""
        self.account.presence_from_stream(stanza)


class MessageForkHandler(_AccountHandler):
    """Message forking: what arrives once goes to every attached session."""

    query = ByName("message")

    def received(self, stanza: Stanza) -> None:
        """A message: history, then fork."""
        self.account.message_from_stream(stanza)


class IQProxyHandler(_AccountHandler):
    """IQ proxying: answers to who asked, requests to who can answer."""

    query = ByName("iq")

    def received(self, stanza: Stanza) -> None:
        """An IQ of any type."""
        self.account.iq_from_stream(stanza)


def account_handlers(account: Account) -> list[XMPPHandler]:
    """Return the handlers that an account stream needs, in their order."""
    return [MUCPresenceHandler(account), MessageForkHandler(account), IQProxyHandler(account)]
