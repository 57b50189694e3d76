"""`make chaos`: accounts, devices and rooms on a real server, faults at random for minutes, and a proof in the end."""
