from twisted.application.service import ServiceMaker

minimixproxy = ServiceMaker(
    "minimixproxy",
    "minimixproxy.tap",
    "XMPP proxy by which an account, not each of its clients, joins a groupchat.",
    "minimixproxy",
)
