"""What an account asks of its sessions, its stream and its journal."""
