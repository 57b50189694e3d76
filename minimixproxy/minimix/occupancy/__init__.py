"""The account in one room: joined once, shown to many sessions; its lifecycle."""
