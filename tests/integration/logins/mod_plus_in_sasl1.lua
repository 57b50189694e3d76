-- Behind newer_prosody: the mechanisms with channel binding are offered to who knows no SASL2, too, as by a Prosody 13.
local xmlns_sasl = "urn:ietf:params:xml:ns:xmpp-sasl";

module:hook("stream-features", function (event)
	local handler = event.origin.sasl_handler;
	local list = event.features:get_child("mechanisms", xmlns_sasl);
	if event.origin.username or not handler or not list then return; end
	for name in pairs(handler:mechanisms()) do
		if name:match("%-PLUS$") then list:tag("mechanism"):text(name):up(); end
	end
end, -1001);
