"""Apply a delta: new bytes from old ones, some at a time, in a bounded amount of memory.

What is no tensor comes first, as tensors' scales may lie there. Nothing is believed for its own
sake: the new files' digests decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta import edits, header, plain_bits, plan, rans, scales
from edgeloop.delta.coder import Reader
from edgeloop.delta.edits import ADD, COPY, Gaps
from edgeloop.delta.grid import Told, code
from edgeloop.delta.places import WHOLE, Places
from edgeloop.delta.sections import Fetch, Stream, Window
from edgeloop.delta.varints import Unpacker
from edgeloop.errors import DeltaError

if TYPE_CHECKING:
    from edgeloop.delta.header import Header
    from edgeloop.delta.plan import Entry
    from edgeloop.types import Array

EVERY = 4 << 20  # new bytes between two reports of how far it is
HELD = 1 << 16  # bytes that are hashed or copied at a time


@dataclass(frozen=True)
class Progress:
    """``entries`` of the plan are done; ``learned`` is what the coder knew then."""

    entries: int
    learned: dict[str, Array]


@dataclass
class Decoding:
    """One delta, its old files and the new ones, which have their sizes already."""

    header: Header
    fetch: Fetch
    old: Places
    new: Places
    came: Callable[[int], None] = field(default=lambda _count: None)  # told of new bytes

    def run(self, start: Progress | None = None) -> Iterator[Progress]:
        """All of it, or what is left behind ``start``; say now and then how far it is.

        Raises:
            DeltaError: the delta is broken, or made from other files.
            OSError: a file cannot be read or written.
        """
        self.check_old()
        if start is None:
            for file, size in zip(self.new.files, self.new.sizes, strict=True):
                file.truncate(size)
            self.edit()
        yield from self.tensors(start)
        self.check_new()

    def check_old(self) -> None:
        """Read the old files once.

        Raises:
            DeltaError: they are not those that the delta was made from.
        """
        for number, (file, told) in enumerate(zip(self.old.files, self.header.old, strict=True)):
            size = self.old.sizes[number]
            found = digest(Places([file], [size])) if size == told.size else b""
            if found[: header.KNOWN] != told.sha256:
                raise DeltaError(
                    "old file", f"must have {told.size} bytes, SHA-256 {told.sha256.hex()}...",
                    got=f"{size} bytes, {found.hex()[: 2 * header.KNOWN] or 'not read'}",
                    todo=WHOLE,
                )  # fmt: skip

    def edit(self) -> None:
        """Write all that is no tensor."""
        spans = self._spans()
        literals, differences = self._stream("literals"), self._stream("differences")
        stream = self._stream("edits")
        before = Gaps.between(spans[:, :2], self.old.size)
        after, place = Gaps.between(spans[:, 2:], self.new.size), 0
        if after.size + int((spans[:, 3] - spans[:, 2]).sum()) != self.new.size:
            raise _overlapping()
        for edit in edits.read(stream, after.size):
            if edit.kind in {COPY, ADD}:
                pieces = before.pieces(edit.old, edit.length)
                data = b"".join(self.old.read(*piece) for piece in pieces)
                if edit.kind == ADD:
                    data = _added(data, differences.take(edit.length))
            else:
                data = literals.take(edit.length)
            self._write(after, place, data)
            place += edit.length
        for one in (stream, literals, differences):
            one.finish()

    def tensors(self, start: Progress | None = None) -> Iterator[Progress]:
        """Write the tensors; behind each EVERY bytes, say how far it is."""
        lanes, section = self.header.lanes, self.header.sections
        words = rans.open_words(Window(self.fetch, section["words"]), lanes)
        bits = plain_bits.BitReader(Window(self.fetch, section["bits"]))
        reader, done, since = Reader(words, bits), 0, 0
        if start is not None:
            reader.go_on(start.learned)
            done = start.entries
        for number, entry in enumerate(self._plan()):
            if number < done:
                continue
            self._tensor(reader, entry)
            since += entry.size
            if since >= EVERY:
                yield Progress(number + 1, reader.learned())
                since = 0
        reader.finish()

    def check_new(self) -> None:
        """Read the new files once.

        Raises:
            DeltaError: they are not what the delta promises.
        """
        for file, told in zip(self.new.files, self.header.new, strict=True):
            found = digest(Places([file], [told.size]))
            if found != told.sha256:
                raise DeltaError(
                    "new file", f"must have SHA-256 {told.sha256.hex()}", got=found.hex(),
                    todo=WHOLE,
                )  # fmt: skip

    def _plan(self) -> Iterator[Entry]:
        stream, told = self._stream("plan"), 0
        if self.header.sections["plan"].size:
            for entry in plan.read(Unpacker(stream.take)):
                self._check_places(entry)
                told += entry.size
                if told > self.new.size:
                    raise _overlapping()
                yield entry
        stream.finish()

    def _check_places(self, entry: Entry) -> None:
        within = entry.alone or 0 <= entry.old <= entry.old_end <= self.old.size
        if not within or not 0 <= entry.new <= entry.end <= self.new.size:
            raise DeltaError("delta", "must have its tensors within the old and the new files")

    def _spans(self) -> Array:
        """Where the tensors begin and end in old and new files, ``int64[n, 4]``."""
        found = (
            (0, 0, one.new, one.end) if one.alone else (one.old, one.old_end, one.new, one.end)
            for one in self._plan()
        )  # fmt: skip
        return np.fromiter(found, dtype=(np.int64, 4))

    def _stream(self, name: str) -> Stream:
        return Stream(self.fetch, self.header.sections[name])

    def _tensor(self, reader: Reader, entry: Entry) -> None:
        grid, place = entry.grid, entry.new

        def old(rows: slice) -> Array:
            count = (rows.stop - rows.start) * grid.row_bytes
            if entry.alone:
                return np.zeros((rows.stop - rows.start, grid.row_bytes), dtype=np.uint8)
            raw = self.old.read(entry.old + rows.start * grid.row_bytes, count)
            return np.frombuffer(raw, dtype=np.uint8).reshape(-1, grid.row_bytes)

        told = [Told(how=how) for how in entry.hows]
        means = scales.means(entry, self.old.read, self.new.read)
        for rows in code(reader, grid, told, old, means):
            self.new.write(place, rows.tobytes())
            self.came(rows.size)
            place += rows.size

    def _write(self, gaps: Gaps, place: int, data: bytes) -> None:
        done = 0
        for at, length in gaps.pieces(place, len(data)):
            self.new.write(at, data[done : done + length])
            done += length
        self.came(done)


def _overlapping() -> DeltaError:
    return DeltaError("delta", "must have no tensors that overlap in the new files")


def _added(data: bytes, differences: bytes) -> bytes:
    """Each byte the sum of two, modulo 256."""
    old, more = np.frombuffer(data, dtype=np.uint8), np.frombuffer(differences, dtype=np.uint8)
    return (old + more).tobytes()


def digest(places: Places) -> bytes:
    """The SHA-256 of files, read once."""
    found = hashlib.sha256()
    for place in range(0, places.size, HELD):
        found.update(places.read(place, min(HELD, places.size - place)))
    return found.digest()
