"""The newest answers with their arrays, within a budget of bytes.

What feedback that comes later needs to be counted, and a sample needs to be given.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeloop.agent.loaded import Meaning
    from edgeloop.types import Arrays

MOST_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Given:
    """An answer as it was given, one row. ``feed`` is None where the device did not opt in."""

    meaning: Meaning
    time: float
    answers: Arrays
    feed: Arrays | None

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        arrays = [*self.answers.values(), *(self.feed or {}).values()]
        return sum(array.nbytes for array in arrays)


class Recent:
    """Answer id -> what was given. In memory alone; safe for several threads."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._bytes = most_bytes, 0
        self._given: OrderedDict[str, Given] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, answer_id: str, given: Given) -> None:
        """Keep it; the oldest go when the budget is spent."""
        with self._lock:
            self._given[answer_id] = given
            self._bytes += given.size
            while self._bytes > self._most:
                _, oldest = self._given.popitem(last=False)
                self._bytes -= oldest.size

    def get(self, answer_id: str) -> Given | None:
        """None when it is gone."""
        with self._lock:
            return self._given.get(answer_id)
