"""Time as a seam: the system's clock here, a fake one in ``edgeloop.testing``."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and waiting, all in seconds."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Unix time."""
        return time.time()

    def monotonic(self) -> float:
        """Time that never goes back; its zero means nothing."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
