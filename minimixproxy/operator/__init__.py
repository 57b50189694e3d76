"""The operator's side: control socket, commands, status."""
