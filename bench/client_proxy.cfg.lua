-- Prosody for the measurements of client_proxy; @...@ is filled in by client_proxy.py.
run_as_root = true
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
component_interfaces = { "127.0.0.1" }
c2s_ports = { @port@ }
component_ports = { @component_port@ }
data_path = "@directory@"
pidfile = "@directory@/prosody.pid"
log = { { levels = { min = "info" }, to = "console" } }
plugin_paths = { @plugin_paths@ }

modules_enabled = {
	"roster", "saslauth", "disco", "carbons", "pep", "private", "blocklist", "vcard4", "vcard_legacy",
	"version", "uptime", "time", "ping", "presence", "message", "iq", "offline", "c2s",
}
modules_disabled = { "s2s", "tls" }
allow_registration = false
authentication = "internal_hashed"
default_storage = "internal"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true

VirtualHost "@domain@"

@component@
