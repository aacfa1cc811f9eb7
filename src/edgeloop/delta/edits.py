"""What is not told as a tensor: runs copied from the old bytes, changed ones, and new ones.

The form is that of bsdiff (Percival, "Naive differences of executable code", 2003), where a run of
old bytes is added to, byte by byte; runs that did not change have a kind of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta.varints import Packer, Unpacker
from edgeloop.errors import DeltaError

if TYPE_CHECKING:
    from edgeloop.delta.sections import Stream
    from edgeloop.types import Array

COPY, ADD, LITERAL = range(3)
PIECE = 1 << 16  # bytes that are worked on at a time


@dataclass(frozen=True, kw_only=True)
class Edit:
    """``length`` new bytes: of a ``kind``; ``old`` is where the old ones begin."""

    kind: int
    length: int
    old: int = 0


@dataclass(frozen=True)
class Gaps:
    """What spans leave over of a file's ``size`` bytes, as one run of bytes."""

    starts: Array  # int64[n]: of each gap, in the file
    ends: Array
    before: Array  # int64[n]: bytes of the gaps before it

    @classmethod
    def between(cls, spans: Array, size: int) -> Gaps:
        """``spans`` is ``int64[n, 2]``: first and last place of each; they may overlap.

        Raises:
            DeltaError: one goes beyond the file.
        """
        spans = spans[spans[:, 0] != spans[:, 1]]
        order = spans[np.argsort(spans[:, 0], kind="stable")]
        reached = np.maximum.accumulate(np.append(0, order[:, 1]))
        if len(order) and not 0 <= order[0, 0] <= reached[-1] <= size:
            raise DeltaError("delta", f"must have its tensors within {size} bytes")
        starts, ends = reached, np.append(order[:, 0], size)
        used = ends > starts
        starts, ends = starts[used], ends[used]
        return cls(starts, ends, np.cumsum(ends - starts) - (ends - starts))

    @property
    def size(self) -> int:
        """Bytes of all gaps."""
        return int((self.ends - self.starts).sum())

    def joined(self, run: bytes) -> bytes:
        """The gaps of a file's bytes."""
        ends = zip(self.starts, self.ends, strict=True)
        return b"".join(run[first:last] for first, last in ends)

    def place(self, first: int, count: int) -> int | None:
        """Where so many bytes of the file are among the gaps; None: they are not in one."""
        at = int(np.searchsorted(self.starts, first, side="right")) - 1
        if at < 0 or first + count > self.ends[at]:
            return None
        return int(self.before[at] + first - self.starts[at])

    def pieces(self, place: int, count: int) -> Iterator[tuple[int, int]]:
        """Where so many bytes of the gaps lie in the file: place and length of each piece.

        Raises:
            DeltaError: there are not so many.
        """
        if place < 0 or place + count > self.size:
            raise DeltaError("delta", f"must stay within {self.size} bytes", got=place + count)
        at = int(np.searchsorted(self.before, place, side="right")) - 1
        while count:
            first = int(self.starts[at] + place - self.before[at])
            length = min(count, int(self.ends[at]) - first)
            yield first, length
            place, count, at = place + length, count - length, at + 1


def written(edits: Iterable[Edit]) -> bytes:
    """All edits; places are told as steps from where the last run of old bytes ended."""
    packer, place = Packer(), 0
    for edit in edits:
        packer.number(3 * edit.length + edit.kind)
        if edit.kind != LITERAL:
            packer.signed(edit.old - place)
            place = edit.old + edit.length
    return bytes(packer.data)


def read(stream: Stream, size: int) -> Iterator[Edit]:
    """Edits for ``size`` new bytes, in pieces of at most PIECE.

    Raises:
        DeltaError: they make more than ``size`` bytes, or nothing.
    """
    unpacker, place = Unpacker(stream.take), 0
    while size:
        length, kind = divmod(unpacker.number(), 3)
        if not 0 < length <= size:
            raise DeltaError("delta", f"must edit 1 to {size} bytes", got=length)
        if kind != LITERAL:
            place += unpacker.signed()
        for done in range(0, length, PIECE):
            yield Edit(kind=kind, length=min(PIECE, length - done), old=place + done)
        size -= length
        place += length if kind != LITERAL else 0
