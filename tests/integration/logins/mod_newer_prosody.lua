-- The community's modules for SASL2 ask for what Prosody has since 0.12: what a TLS connection tells of itself, and the
-- attributes of the client's stream header, dates with parts of a second, an attribute of a child. And the types of channel binding are listed (XEP-0440),
-- and SCRAM can be bound to TLS 1.3.
module:set_global();

local sasl = require "util.sasl";
require "util.sasl.scram".init(function (name, backends, process, bindings)
	sasl.registerMechanism(name, backends, process, bindings and { "tls-unique", "tls-exporter" });
end);

local stanza = require "util.stanza".stanza_mt.__index;
function stanza:get_child_attr(name, xmlns, attribute)
	local child = self:get_child(name, xmlns);
	return child and child.attr[attribute];
end

local dates = require "util.datetime";
local datetime = dates.datetime;
function dates.datetime(time) return datetime(time and math.floor(time)); end

local function teach(connection)
	local methods = getmetatable(connection).__index;
	if methods.ssl_info then return; end
	function methods:ssl_info() return self:socket():info(); end
	function methods:ssl_peerfinished() return self:socket():getpeerfinished(); end
	function methods:ssl_exportkeyingmaterial(...) return self:socket():exportkeyingmaterial(...); end
end

local function listen(session)
	if session.client_names_itself ~= nil then return; end
	session.client_names_itself = false;
	local open_stream = session.open_stream;
	function session:open_stream(from, to)
		self.client_names_itself = to or false;
		return open_stream(self, from, to);
	end
end

function module.add_host(host)
	host:hook("stream-features", function (event)
		local session = event.origin;
		listen(session); -- before TLS already
		event.stream = { from = session.client_names_itself or nil };
		if session.conn then teach(session.conn); end
	end, 1000);
	host:hook("stream-features", function (event)
		local session = event.origin;
		local handler = session.sasl_handler;
		if session.username or not handler then return; end
		session.handler_of_sasl2 = handler;
		if not handler.profile.cb then return; end
		local list = event.features:tag("sasl-channel-binding", { xmlns = "urn:xmpp:sasl-cb:0" });
		for kind in pairs(handler.profile.cb) do
			list:tag("channel-binding", { type = kind }):up();
		end
		list:up();
	end, 0.5);
	host:hook("stream-features", function (event) -- mod_saslauth has put one of its own in its place
		local session = event.origin;
		if not session.username then session.sasl_handler = session.handler_of_sasl2; end
	end, -1000);
end
