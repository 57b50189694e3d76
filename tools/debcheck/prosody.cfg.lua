-- Prosody beside the packaged proxy: on loopback, on the port that debian/minimixproxy.toml leads to.
modules_enabled = { "roster", "saslauth", "tls", "disco", "private", "posix", "ping", "smacks", "pep" }
c2s_ports = { 15222 }
c2s_interfaces = { "127.0.0.1" }
c2s_direct_tls_ports = {}
s2s_ports = {}
authentication = "internal_hashed"
pidfile = "/run/prosody/prosody.pid"
log = { info = "*syslog" }
VirtualHost "example.org"
    ssl = { key = "/etc/prosody/certs/check.key", certificate = "/etc/prosody/certs/check.pem" }
Component "conference.example.org" "muc"
    muc_room_locking = false
Component "proxy.example.org"
    component_secret = "a long random text"
