"""What is wrong on this machine, and what to do: configuration, files, certificates, ports, state, names, servers."""
