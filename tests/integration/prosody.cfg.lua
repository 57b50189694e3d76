-- Prosody for the tests; @...@ is filled in by prosody.py.
run_as_root = true
interfaces = { "@address@" }
local_interfaces = { "@address@" }
c2s_ports = { @port@ }
c2s_direct_tls_ports = { @direct_tls_port@ }
component_ports = { @component_port@ }
console_ports = { @console_port@ }
console_banner = ""
data_path = "@directory@"
certificates = "@directory@"
pidfile = "@directory@/prosody.pid"
log = { { levels = { min = "info" }, to = "console" } }

modules_enabled = {
	"roster", "saslauth", "tls", "disco", "carbons", "pep", "private", "blocklist", "vcard4", "vcard_legacy",
	"bookmarks", "version", "time", "uptime", "ping", "mam", "csi_simple", @modules@"presence", "message", "iq",
	"offline", "c2s", "lastactivity", "admin_telnet", "register_ibr", "user_account_management",
}
modules_disabled = { "s2s", "s2s_auth_certs" }
allow_registration = true
authentication = "internal_hashed"
default_iteration_count = 4096 -- as ejabberd's, the least there may be: thousands log in
default_storage = "internal"
archive_expires_after = "never"
c2s_require_encryption = true
allow_unencrypted_plain_auth = false
component_interfaces = { "@address@" }
ssl = { key = "@key@", certificate = "@certificate@" }
c2s_direct_tls_ssl = { key = "@key@", certificate = "@certificate@" }
@options@

VirtualHost "@domain@"

Component "@muc@" "muc"
	modules_enabled = { "muc_mam" }
	muc_log_by_default = true
	restrict_room_creation = false
	muc_room_locking = false

-- a new room is locked until its owner has configured it, as Prosody does by default
Component "locking.@domain@" "muc"
	restrict_room_creation = false

@components@
