-- Prosody for the measurements; @...@ is filled in by servers.py. Modules as in Prosody's own example configuration,
-- less what is about other servers, registration, administration and limits.
run_as_root = true
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { @port@ }
component_ports = { @component_port@ }
component_interfaces = { "127.0.0.1" }
data_path = "@directory@"
certificates = "@directory@"
pidfile = "@directory@/prosody.pid"
log = { { levels = { min = "@level@" }, to = "console" } }
plugin_paths = { @plugin_paths@ }

modules_enabled = {
	"roster", "saslauth", @tls_module@ "disco", "carbons", "pep", "private", "blocklist", "vcard4", "vcard_legacy",
	"version", "uptime", "time", "ping", "presence", "message", "iq", "offline", "c2s",
}
modules_disabled = { "s2s", "s2s_auth_certs" }
allow_registration = false
authentication = "internal_hashed"
default_storage = "internal"
c2s_require_encryption = @require_tls@
allow_unencrypted_plain_auth = true
ssl = { key = "@key@", certificate = "@certificate@" }

VirtualHost "@domain@"
	modules_enabled = { @account_modules@ }

-- The sender's host: what is measured on @domain@ does not see its sending.
VirtualHost "@sender_domain@"

Component "@muc@" "muc"
	restrict_room_creation = false
	muc_room_locking = false

-- Rooms of any size: roomservice.py.
Component "@rooms@"
	component_secret = "@password@"
