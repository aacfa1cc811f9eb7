"""Files as one run of bytes: a bundle's files one after the other, read and written by place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from edgeloop.errors import DeltaError

WHOLE = "Take the whole files instead"


class File(Protocol):
    """What is asked of an open file; one in memory will do."""

    def seek(self, place: int, /) -> int:
        """Go to a place."""

    def read(self, count: int, /) -> bytes | None:
        """Up to so many bytes from there."""

    def write(self, data: memoryview, /) -> int | None:
        """Write from there; how many bytes were taken."""

    def truncate(self, size: int, /) -> int:
        """Make it so long; what is new is zeros."""


@dataclass(frozen=True)
class Places:
    """Open files of the given ``sizes``; a place counts through all of them."""

    files: Sequence[File]
    sizes: Sequence[int]

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(self.sizes)

    def read(self, place: int, count: int) -> bytes:
        """So many bytes.

        Raises:
            DeltaError: they are not all within.
            OSError: the disk says no.
        """
        parts = []
        for file, offset, wanted in self._pieces(place, count):
            length = wanted
            file.seek(offset)
            while length and (found := file.read(length)):
                parts.append(found)
                length -= len(found)
            if length:
                raise DeltaError("file", "must stay as long as it was", todo=WHOLE)
        return b"".join(parts)

    def write(self, place: int, data: bytes) -> None:
        """Write over what is there.

        Raises:
            DeltaError: it would go beyond the end.
            OSError: the disk says no.
        """
        left = memoryview(data)
        for file, offset, wanted in self._pieces(place, len(data)):
            length = wanted
            file.seek(offset)
            while length:
                done = file.write(left[:length]) or 0
                left, length = left[done:], length - done

    def _pieces(self, place: int, count: int) -> Iterator[tuple[File, int, int]]:
        """File, offset in it, length."""
        if place < 0 or count < 0 or place + count > self.size:
            raise DeltaError("delta", f"must stay within {self.size} bytes", got=place + count)
        ends = list(accumulate(self.sizes))
        for file, end, size in zip(self.files, ends, self.sizes, strict=True):
            first, last = max(place, end - size), min(place + count, end)
            if first < last:
                yield file, first - (end - size), last - first
