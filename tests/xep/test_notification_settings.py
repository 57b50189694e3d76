"""Notification settings in bookmarks (XEP-0492)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.xep.notification_settings import setting_of

V1, V0 = (f"urn:xmpp:notification-settings:{version}" for version in (1, 0))
PC, PHONE = ("identity-category='client' identity-type='%s'" % kind for kind in ("pc", "phone"))  # noqa: UP031


def in_bookmark(notify: str) -> str | None:
    xml = f"<conference xmlns='urn:xmpp:bookmarks:1'><extensions>{notify}</extensions></conference>"
    return setting_of(xml.encode())


class Settings(SynchronousTestCase):
    def test_table(self) -> None:
        for inner, expected in (
            ("<never/>", "never"),
            ("<always/>", "always"),
            ("<on-mention/>", "on-mention"),
            ("<never><advanced><x xmlns='urn:x'/></advanced></never>", "never"),
            (f"<never/><always {PHONE}/>", "always"),
            (f"<never {PC}/><always/>", "always"),
            (f"<never {PC}/>", None),
            (f"<never/><on-mention identity-category='client'/><always {PHONE}/>", "always"),
            (f"<never/><on-mention identity-category='client'/><always {PC}/>", "on-mention"),
            ("<never/><always identity-category='gateway'/>", "never"),
            ("<sometimes/>", None),
            ("<never xmlns='urn:x'/>", None),
            ("", None),
        ):
            self.assertEqual(in_bookmark(f"<notify xmlns='{V1}'>{inner}</notify>"), expected, inner)

    def test_version_0(self) -> None:
        self.assertEqual(in_bookmark(f"<notify xmlns='{V0}'><never/></notify>"), "never")
        self.assertEqual(
            in_bookmark(f"<notify xmlns='{V0}'><never client-type='pc'/><always client-type='phone'/></notify>"),
            "always",
        )

    def test_none(self) -> None:
        self.assertIsNone(in_bookmark(""))
        self.assertIsNone(
            setting_of(f"<conference xmlns='urn:xmpp:bookmarks:1'><notify xmlns='{V1}'/></conference>".encode())
        )
