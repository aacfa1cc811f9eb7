"""A clock that moves only when it is told to, or when somebody sleeps on it."""


class FakeClock:
    """Starts at ``start`` (Unix seconds); ``sleep`` advances it at once."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> float:
        """The faked Unix time."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since this clock was made; jumps of the wall clock do not touch it."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Advance both times."""
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as a device that lost its battery or met a bad NTP server."""
        self._now += seconds
