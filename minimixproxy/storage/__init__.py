"""What survives a restart: accounts, their rooms, history, and how far each client has seen it."""
