"""The command by which a user withdraws the tokens of devices."""

from tests.integration.client import Client

NS_ITEMS = "http://jabber.org/protocol/disco#items"
NS_COMMANDS = "http://jabber.org/protocol/commands"


async def withdraw(client: Client, device: str) -> None:
    """A client of the account withdraws that of a device, given by its id."""
    items = await client.iq("get", client.bare, f"<query xmlns='{NS_ITEMS}' node='{NS_COMMANDS}'/>")
    listed = next(iter(items.element.elements())).elements()
    (address,) = {item["jid"] for item in listed if item.getAttribute("node") == "tokens"}
    asked = await client.iq("set", address, f"<command xmlns='{NS_COMMANDS}' node='tokens'/>")
    assert device[:8] in str(asked), asked
    session = next(iter(asked.element.elements()))["sessionid"]
    form = f"<x xmlns='jabber:x:data' type='submit'><field var='devices'><value>{device}</value></field></x>"
    command = f"<command xmlns='{NS_COMMANDS}' node='tokens' sessionid='{session}'>{form}</command>"
    done = await client.iq("set", address, command)
    assert "1 token withdrawn" in str(done), done
