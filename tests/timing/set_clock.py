"""A clock in the test's hand, beside one that somebody has set."""

from twisted.internet.task import Clock


class SetClock(Clock):
    """Two kinds of time: what the machine's clock shows is ahead by `set_by` seconds."""

    set_by = 0.0

    def wall_time(self) -> float:
        return self.seconds() + self.set_by
