"""Login exchanges: what a client and the proxy say to each other until the client is logged in upstream."""
