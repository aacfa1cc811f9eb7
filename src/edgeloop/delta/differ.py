"""Find what two runs of bytes have in common, by bsdiff4's suffix sorting.

The build side's part of edits.py; the package bsdiff4 is asked for the matches alone.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeloop.delta.edits import ADD, COPY, LITERAL, Edit, Gaps
from edgeloop.errors import MissingExtraError

LARGEST = 1 << 26  # bytes that are searched at a time: sorting takes 16 times their memory


@dataclass(frozen=True, kw_only=True)
class Same:
    """Bytes that are known to be the same: places in both runs, and how many."""

    old: int
    new: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Edits, and what they take from the two streams."""

    edits: tuple[Edit, ...]
    literals: bytes
    differences: bytes


def difference(old: bytes, new: bytes, same: Sequence[Same] = ()) -> Difference:
    """Edits that make ``new`` of ``old``; ``same`` are copied without a search."""
    before, after = (_left(len(run), same, side) for run, side in ((old, "old"), (new, "new")))
    changes = _Changes(old, new)
    copies = sorted(same, key=lambda one: one.new)
    for at, edit in _searched(before.joined(old), after.joined(new)):
        for place, piece in _placed(edit, before, after.pieces(at, edit.length)):
            while copies and copies[0].new < place:
                changes.copy(copies.pop(0))
            changes.add(piece)
    for one in copies:
        changes.copy(one)
    return changes.found()


class _Changes:
    """Collects edits in the order of the new bytes."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self._old, self._new = old, new
        self._place = 0
        self._edits: list[Edit] = []
        self._literals, self._differences = bytearray(), bytearray()

    def copy(self, same: Same) -> None:
        """Add a run that is known to be the same."""
        self.add(Edit(kind=COPY, length=same.length, old=same.old))

    def add(self, edit: Edit) -> None:
        """Add one, as what it is: a run of which nothing changed is a copy."""
        new = self._new[self._place : self._place + edit.length]
        self._place += edit.length
        if edit.kind == LITERAL:
            self._literals += new
        elif edit.kind == ADD:
            old = self._old[edit.old : edit.old + edit.length]
            if old == new:
                edit = replace(edit, kind=COPY)
            else:
                self._differences += _less(new, old)
        self._join(edit)

    def _join(self, edit: Edit) -> None:
        """Runs that go on where the last one ended are one."""
        last = self._edits[-1] if self._edits else None
        if last is None or last.kind != edit.kind:
            self._edits.append(edit)
        elif edit.kind == LITERAL or last.old + last.length == edit.old:
            self._edits[-1] = replace(last, length=last.length + edit.length)
        else:
            self._edits.append(edit)

    def found(self) -> Difference:
        """All of it."""
        return Difference(
            edits=tuple(self._edits), literals=bytes(self._literals),
            differences=bytes(self._differences),
        )  # fmt: skip


def _less(new: bytes, old: bytes) -> bytes:
    return (np.frombuffer(new, dtype=np.uint8) - np.frombuffer(old, dtype=np.uint8)).tobytes()


def _left(size: int, same: Sequence[Same], side: str) -> Gaps:
    """What is left of a run without what is the same."""
    spans = [(getattr(one, side), getattr(one, side) + one.length) for one in same]
    return Gaps.between(np.array(spans, dtype=np.int64).reshape(-1, 2), size)


def _placed(
    edit: Edit, before: Gaps, ahead: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, Edit]]:
    """An edit between what is left, in pieces at their places in the whole runs."""
    olds = [(0, edit.length)] if edit.kind == LITERAL else before.pieces(edit.old, edit.length)
    old = old_left = 0
    older = iter(olds)
    for place, length in ahead:
        done = 0
        while done < length:
            if not old_left:
                old, old_left = next(older)
            count = min(length - done, old_left)
            yield place + done, Edit(kind=edit.kind, length=count, old=old)
            old, old_left, done = old + count, old_left - count, done + count


def _searched(old: bytes, new: bytes) -> Iterator[tuple[int, Edit]]:
    """Edits between two runs and the places of what they make, a window of each at a time."""
    for first in range(0, len(new), LARGEST):
        window = new[first : first + LARGEST]
        at = first
        for edit in _matches(old[first : first + LARGEST], window):
            yield at, replace(edit, old=edit.old + first)
            at += edit.length


def _matches(old: bytes, new: bytes) -> Iterator[Edit]:
    if not old:
        yield Edit(kind=LITERAL, length=len(new))
        return
    place = 0
    for added, literal, step in _control(old, new):
        if added:
            yield Edit(kind=ADD, length=added, old=place)
        if literal:
            yield Edit(kind=LITERAL, length=literal)
        place += added + step


def _control(old: bytes, new: bytes) -> list[list[int]]:
    """Bytes to add, new bytes, and how far to go in the old ones, of each step of a patch.

    A BSDIFF40 patch has three numbers behind its name, the first of which is the length of its
    control block; numbers are a sign and 63 bits.
    """
    try:
        import bsdiff4
    except ImportError as missing:
        raise MissingExtraError(
            "bsdiff4", "must be installed to make deltas", todo="pip install 'edgeloop[train]'"
        ) from missing
    patch: bytes = bsdiff4.diff(old, new)
    length = int.from_bytes(patch[8:16], "little")
    block = bz2.decompress(patch[32 : 32 + length])
    numbers = np.frombuffer(block, dtype="<u8").astype(np.uint64)
    sizes = (numbers & np.uint64((1 << 63) - 1)).astype(np.int64)
    steps: list[list[int]] = (
        np.where(numbers >> np.uint64(63), -sizes, sizes).reshape(-1, 3).tolist()
    )
    return steps
