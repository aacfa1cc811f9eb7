"""Foreign bytes: numbers at places, never outside of them, and never endlessly many."""

from __future__ import annotations

import struct

MOST_AXES = 16  # of a tensor; no container has more
MOST_READS = 1 << 22  # of names, shapes and tables in a file; what is skipped does not count
A_READ = 64  # bytes; more at once are as many reads


class BrokenError(Exception):
    """The bytes are no such file, or are broken."""


class Foreign:
    """Reads within ``data``, and not more often than :data:`MOST_READS`.

    A small file can send a reader to the same place over and over; the limit ends that.
    """

    def __init__(self, data: memoryview) -> None:
        self._data, self._left = data, MOST_READS

    def check(self, place: int, count: int) -> None:
        """Raise BrokenError unless ``count`` bytes are there."""
        if not 0 <= place <= place + count <= len(self._data):
            raise BrokenError

    def number(self, form: str, place: int) -> int:
        """A whole number of ``struct``'s form, little endian."""
        self._spend(place, size := struct.calcsize(form))
        return int.from_bytes(self._data[place : place + size], "little", signed=form.islower())

    def byte(self, place: int) -> int:
        """The byte at a place; as :meth:`number`, but for how often it is wanted."""
        self._spend(place, 1)
        return self._data[place]

    def take(self, place: int, count: int) -> bytes:
        """A copy of some bytes."""
        self._spend(place, count)
        return bytes(self._data[place : place + count])

    def text(self, place: int, count: int) -> str:
        """A name; it need not be well formed."""
        return self.take(place, count).decode(errors="replace")

    def _spend(self, place: int, count: int) -> None:
        self.check(place, count)
        self._left -= 1 + count // A_READ
        if self._left < 0:
            raise BrokenError
