"""What is built for the wire, byte by byte: with all that may be in it, and with nothing that may be left out."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.xep import (
    bind2,
    bookmarks,
    channel_binding,
    data_forms,
    delays,
    disco,
    displayed,
    fast,
    muc,
    push,
    sasl,
    sasl2,
    stanza_errors,
    stream_headers,
    stream_management,
)
from minimixproxy.xep.bookmarks import Bookmark
from minimixproxy.xep.push import Service, Summary

BOOKMARK = Bookmark("r@m", True, None, None, "R@m", b"<conference/>")


class BuiltTests(SynchronousTestCase):
    def test_each(self) -> None:
        for number, (built, expected) in enumerate(built_and_expected()):
            self.assertEqual(built, expected, number)


def built_and_expected() -> tuple[tuple[bytes, bytes], ...]:
    return (
        (
            sasl.mechanisms(("A", "B")),
            b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>A</mechanism>"
            b"<mechanism>B</mechanism></mechanisms>",
        ),
        (
            sasl.challenge(b""),
            b"<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        ),
        (
            sasl.challenge(b"x"),
            b"<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>eA==</challenge>",
        ),
        (
            sasl.success(),
            b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        ),
        (
            sasl.success(b"x"),
            b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>eA==</success>",
        ),
        (
            sasl.failure("aborted"),
            b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/></failure>",
        ),
        (
            sasl.failure("aborted", "a<b"),
            b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/><text xml:lang='en'>a&lt;b</text></failure>",
        ),
        (
            sasl2.feature(("A",), ("T",)),
            b"<authentication xmlns='urn:xmpp:sasl:2'><mechanism>A</mechanism><inline>"
            b"<bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:carbons:2'/>"
            b"<feature var='urn:xmpp:csi:0'/><feature var='urn:xmpp:sm:3'/></inline></bind>"
            b"<sm xmlns='urn:xmpp:sm:3'/><fast xmlns='urn:xmpp:fast:0'><mechanism>T</mechanism></fast></inline>"
            b"</authentication>",
        ),
        (
            sasl2.challenge(b"x"),
            b"<challenge xmlns='urn:xmpp:sasl:2'>eA==</challenge>",
        ),
        (
            sasl2.success("a@b", b"", b""),
            b"<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>a@b</authorization-identifier></success>",
        ),
        (
            sasl2.success("a@b/c", b"x", b"<more/>"),
            b"<success xmlns='urn:xmpp:sasl:2'><additional-data>eA==</additional-data>"
            b"<authorization-identifier>a@b/c</authorization-identifier><more/></success>",
        ),
        (
            sasl2.failure("aborted"),
            b"<failure xmlns='urn:xmpp:sasl:2'><aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>",
        ),
        (
            sasl2.failure("aborted", "a<b"),
            b"<failure xmlns='urn:xmpp:sasl:2'><aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
            b"<text xml:lang='en'>a&lt;b</text></failure>",
        ),
        (
            stream_headers.stream_error("conflict"),
            b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        ),
        (
            stream_headers.stream_error("conflict", "a<b"),
            b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            b"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>a&lt;b</text></stream:error>"
            b"</stream:stream>",
        ),
        (
            stream_management.acknowledgement(7),
            b"<a xmlns='urn:xmpp:sm:3' h='7'/>",
        ),
        (
            stream_management.enabled("", 300),
            b"<enabled xmlns='urn:xmpp:sm:3'/>",
        ),
        (
            stream_management.enabled("i", 300, "[::1]:5222"),
            b"<enabled xmlns='urn:xmpp:sm:3' id='i' resume='true' max='300' location='[::1]:5222'/>",
        ),
        (
            stream_management.resume("i", 7),
            b"<resume xmlns='urn:xmpp:sm:3' previd='i' h='7'/>",
        ),
        (
            stream_management.resumed("i", 7),
            b"<resumed xmlns='urn:xmpp:sm:3' previd='i' h='7'/>",
        ),
        (
            stream_management.failed("item-not-found"),
            b"<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
        ),
        (
            stream_management.failed("item-not-found", 0),
            b"<failed xmlns='urn:xmpp:sm:3' h='0'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            b"</failed>",
        ),
        (
            stream_management.handled_count_too_high(8, 7),
            b"<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='8' send-count='7'/></stream:error>"
            b"</stream:stream>",
        ),
        (
            bookmarks.publication(BOOKMARK, options=False),
            b"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>"
            b"<item id='R@m'><conference/></item></publish></pubsub>",
        ),
        (
            bookmarks.publication(BOOKMARK, options=True),
            b"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>"
            b"<item id='R@m'><conference/></item></publish><publish-options>"
            b"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
            b"<value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
            b"<field var='pubsub#persist_items'><value>true</value></field><field var='pubsub#max_items'>"
            b"<value>max</value></field><field var='pubsub#send_last_published_item'><value>never</value>"
            b"</field><field var='pubsub#access_model'><value>whitelist</value></field></x></publish-options>"
            b"</pubsub>",
        ),
        (
            bookmarks.creation(),
            b"<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='urn:xmpp:bookmarks:1'/><configure>"
            b"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
            b"<value>http://jabber.org/protocol/pubsub#node_config</value></field>"
            b"<field var='pubsub#persist_items'><value>true</value></field><field var='pubsub#max_items'>"
            b"<value>max</value></field><field var='pubsub#send_last_published_item'><value>never</value>"
            b"</field><field var='pubsub#access_model'><value>whitelist</value></field></x></configure></pubsub>",
        ),
        (
            bookmarks.configuration(),
            b"<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='urn:xmpp:bookmarks:1'>"
            b"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
            b"<value>http://jabber.org/protocol/pubsub#node_config</value></field>"
            b"<field var='pubsub#persist_items'><value>true</value></field><field var='pubsub#max_items'>"
            b"<value>max</value></field><field var='pubsub#send_last_published_item'><value>never</value>"
            b"</field><field var='pubsub#access_model'><value>whitelist</value></field></x></configure></pubsub>",
        ),
        (
            bookmarks.storage_request(b"<storage/>"),
            b"<query xmlns='jabber:iq:private'><storage/></query>",
        ),
        (
            push.publication(Service("push.test", "", b""), Summary(1, None, None)),
            b"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish><item>"
            b"<notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>"
            b"<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>"
            b"<field var='message-count'><value>1</value></field><field var='last-message-body'>"
            b"<value>New Message!</value></field></x></notification></item></publish></pubsub>",
        ),
        (
            push.publication(Service("push.test", "n", b"<x/>"), Summary(2, "a@b", "text")),
            b"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item>"
            b"<notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>"
            b"<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>"
            b"<field var='message-count'><value>2</value></field><field var='last-message-sender'>"
            b"<value>a@b</value></field><field var='last-message-body'><value>text</value></field></x>"
            b"</notification></item></publish><publish-options><x/></publish-options></pubsub>",
        ),
        (
            fast.feature(()),
            b"",
        ),
        (
            fast.feature(("A", "B")),
            b"<fast xmlns='urn:xmpp:fast:0'><mechanism>A</mechanism><mechanism>B</mechanism></fast>",
        ),
        (
            fast.token("secret", 1700000000.0),
            b"<token xmlns='urn:xmpp:fast:0' expiry='2023-11-14T22:13:20.000Z' token='secret'/>",
        ),
        (
            channel_binding.feature(()),
            b"",
        ),
        (
            channel_binding.feature(("A", "B")),
            b"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='A'/>"
            b"<channel-binding type='B'/></sasl-channel-binding>",
        ),
        (
            stanza_errors.error_payload("cancel", "gone"),
            b"<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
        ),
        (
            stanza_errors.error_payload("cancel", "gone", "a<b"),
            b"<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            b"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>a&lt;b</text></error>",
        ),
        (
            bind2.bound(),
            b"<bound xmlns='urn:xmpp:bind:0'></bound>",
        ),
        (
            bind2.bound(b"<more/>"),
            b"<bound xmlns='urn:xmpp:bind:0'><more/></bound>",
        ),
        (
            muc.join_error("r@m", "n", "a@b/c", None, b"<error/>"),
            b"<presence type='error' from='r@m/n' to='a@b/c'><x xmlns='http://jabber.org/protocol/muc'/><error/>"
            b"</presence>",
        ),
        (
            muc.join_error("r@m", "n", "a@b/c", "i", b"<error/>"),
            b"<presence type='error' from='r@m/n' to='a@b/c' id='i'><x xmlns='http://jabber.org/protocol/muc'/>"
            b"<error/></presence>",
        ),
        (
            muc.presence_error("r@m", "n", "a@b/c", "i", b"<error/>"),
            b"<presence type='error' from='r@m/n' to='a@b/c' id='i'><error/></presence>",
        ),
        (
            muc.unavailable("r@m", "n"),
            b"<presence type='unavailable' to='r@m/n'></presence>",
        ),
        (
            muc.removal("r@m/n", "a@b/c", ()),
            b"<presence type='unavailable' from='r@m/n' to='a@b/c'>"
            b"<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'></item></x>"
            b"</presence>",
        ),
        (
            muc.removal("r@m/n", "a@b/c", ("110", "307"), reason="why"),
            b"<presence type='unavailable' from='r@m/n' to='a@b/c'>"
            b"<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'>"
            b"<reason>why</reason></item><status code='110'/><status code='307'/></x></presence>",
        ),
        (
            disco.disco_info(None, ("a", "b", "c"), ("f",)),
            b"<query xmlns='http://jabber.org/protocol/disco#info'><identity category='a' type='b' name='c'/>"
            b"<feature var='f'/></query>",
        ),
        (
            disco.disco_info("n", ("a", "b", "c"), ()),
            b"<query xmlns='http://jabber.org/protocol/disco#info' node='n'>"
            b"<identity category='a' type='b' name='c'/></query>",
        ),
        (
            data_forms.submission("t", {"a": "b"}),
            b"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>t</value>"
            b"</field><field var='a'><value>b</value></field></x>",
        ),
        (
            data_forms.table("t", (("a", "A"),), (("1",), ("2",))),
            b"<x xmlns='jabber:x:data' type='result'><title>t</title><reported>"
            b"<field var='a' type='text-single' label='A'/></reported><item><field var='a'><value>1</value>"
            b"</field></item><item><field var='a'><value>2</value></field></item></x>",
        ),
        (
            delays.delay("r@m", 1700000000.5),
            b"<delay xmlns='urn:xmpp:delay' from='r@m' stamp='2023-11-14T22:13:20.500Z'/>",
        ),
        (
            displayed.subscription("a@b"),
            b"<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
            b"<subscribe node='urn:xmpp:mds:displayed:0' jid='a@b'/></pubsub>",
        ),
    )
