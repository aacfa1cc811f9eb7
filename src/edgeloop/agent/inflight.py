"""Requests that are being answered, so that an end can wait for them."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self


class InFlight:
    """``with in_flight: ...`` around each request."""

    def __init__(self) -> None:
        self._changed, self._count = threading.Condition(), 0

    def __enter__(self) -> Self:
        with self._changed:
            self._count += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> int:
        """Until none is left, for ``seconds`` at the most; gives how many are left."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, seconds)
            return self._count
