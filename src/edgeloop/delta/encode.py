"""Make a delta: pair tensors, choose how each is told, and keep the shortest whole.

Every delta is applied before it is given away, so a fault of this side costs an error, never a
device.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta import choose, containers, edits, header, plan, scales, sections
from edgeloop.delta.choose import Choice
from edgeloop.delta.coder import Writer
from edgeloop.delta.differ import Difference, Same, difference
from edgeloop.delta.edits import LITERAL, Edit, Gaps
from edgeloop.delta.formats import BY_NAME
from edgeloop.delta.grid import Grid, Means, Told, code
from edgeloop.delta.layout import Span
from edgeloop.delta.matrix import CHUNK
from edgeloop.delta.pairs import pairs
from edgeloop.delta.plan import MOST_LINES, MOST_NUMBERS, By, Entry, Scaling
from edgeloop.delta.rans import MOST_LANES
from edgeloop.delta.sections import Section

if TYPE_CHECKING:
    from edgeloop.types import Array

SEARCHED = 1 << 26  # bytes in which tensors are looked for as bytes too, to see what is shorter
ENTRY = 10  # bytes that an entry of the plan takes, about
TURNS = 1 << 14  # symbols of a lane at most: a reader takes as long for one as for a thousand
LANE = 1024  # bytes of words for each lane: its state costs two of them


@dataclass(frozen=True, kw_only=True)
class Made:
    """A delta's bytes, and what its coder's tables say that the tensors' numbers take."""

    data: bytes
    tensors: int = 0
    bits: float = 0.0  # of the numbers, by the tables that they were coded with
    coded: int = 0  # bytes of words and plain bits


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files one after the other, as a delta sees them, and the tensors in them."""

    data: bytes
    parts: Sequence[bytes]
    spans: Sequence[Span]

    @classmethod
    def of(cls, parts: Sequence[bytes]) -> Files:
        """Find the tensors of all files."""
        spans: list[Span] = []
        place = 0
        for part in parts:
            spans += (_moved(span, place) for span in containers.find(memoryview(part)))
            place += len(part)
        return cls(data=b"".join(parts), parts=parts, spans=spans)

    def bytes(self, place: int, count: int) -> bytes:
        """Some of them."""
        return self.data[place : place + count]


def _moved(span: Span, place: int) -> Span:
    """A span of a file that begins at a place."""
    told = span.scales
    if told is not None:
        zeros = None if told.zeros is None else told.zeros + place
        told = replace(told, offset=told.offset + place, zeros=zeros)
    return replace(span, offset=span.offset + place, scales=told)


def made(old: Sequence[bytes], new: Sequence[bytes]) -> Made:
    """The shortest delta from ``old`` files to ``new`` ones."""
    before, after = Files.of(old), Files.of(new)
    found = [_whole(new)]
    if after.spans:
        found.append(_Tensors(before, after).delta())
    if not after.spans or len(before.data) + len(after.data) <= SEARCHED:
        found.append(_assembled(before, after, _Told()))
    return min(found, key=lambda one: len(one.data))


@dataclass
class _Told:
    """What is told as tensors, and what of the rest is known to be the same."""

    entries: list[Entry] = field(default_factory=list)
    same: list[Same] = field(default_factory=list)
    writer: Writer = field(default_factory=Writer)


class _Tensors:
    """Tells tensors one after the other, by what the coder has learned so far."""

    def __init__(self, before: Files, after: Files) -> None:
        self._before, self._after = before, after
        self._told = _Told()

    def delta(self) -> Made:
        """All tensors, and the rest."""
        found = pairs(
            self._before.spans, memoryview(self._before.data),
            self._after.spans, memoryview(self._after.data),
        )  # fmt: skip
        scaling = {place for span in self._after.spans for place in _scaled_by(span)}
        for new, old in sorted(found, key=lambda pair: pair[0].offset not in scaling):
            self._tell(new, old)
        return _assembled(self._before, self._after, self._told)

    def _tell(self, new: Span, old: Span | None) -> None:
        if old is not None and self._same(new, old):
            self._told.same.append(Same(old=old.offset, new=new.offset, length=new.size))
        elif new.form in BY_NAME and new.size:
            for entry in entries(new, old):
                self._entry(entry, alone=old is None)

    def _same(self, new: Span, old: Span) -> bool:
        data = self._before.bytes(old.offset, old.size)
        return data == self._after.bytes(new.offset, new.size)

    def _entry(self, entry: Entry, *, alone: bool) -> None:
        """Choose how each field is told; what is not worth it stays with the rest."""
        grid, writer = entry.grid, self._told.writer
        new = _raw(self._after, entry.new, entry)
        old = np.zeros_like(new) if alone else _raw(self._before, entry.old, entry)
        choices, means = self._choices(entry, old, new, alone=alone)
        if entry.scaling is not None:  # a scale may have moved while the levels have not
            plain = replace(entry, scaling=None)
            others, ones = self._choices(plain, old, new, alone=alone)
            if _cost(others) < _cost(choices):
                entry, choices, means = plain, others, ones
        if _cost(choices) >= 8 * (entry.size - ENTRY):
            return
        told = [Told(how=one.how, side=one.side) for one in choices]
        entry = replace(entry, hows=tuple(one.how for one in choices))
        if entry.alone:
            old = np.zeros_like(new)
        deque(code(writer, grid, told, lambda rows: old[rows], means, lambda rows: new[rows]), 0)
        self._told.entries.append(entry)

    def _choices(
        self, entry: Entry, old: Array, new: Array, *, alone: bool
    ) -> tuple[list[Choice], Callable[[slice], Means]]:
        """How each field is best told, and what the levels stand for."""
        means = scales.means(entry, self._before.bytes, self._after.bytes)
        grid, every = entry.grid, means(slice(0, entry.grid.rows))
        before, after = grid.unpack(old), grid.unpack(new)
        numbers = [grid.numbers(at, before, after, every) for at in range(len(after))]
        writer = self._told.writer
        return [
            choose.best(writer, one, wanted, alone=alone)
            for one, wanted in zip(numbers, after, strict=True)
        ], means


def _scaled_by(span: Span) -> tuple[int, ...]:
    """Where what its levels stand for lies: that is told first."""
    scales = span.scales
    if scales is None:
        return ()
    return (scales.offset,) if scales.zeros is None else (scales.offset, scales.zeros)


def _raw(files: Files, place: int, entry: Entry) -> Array:
    raw = np.frombuffer(files.bytes(place, entry.size), dtype=np.uint8)
    return raw.reshape(entry.grid.rows, entry.grid.row_bytes)


def _cost(choices: Sequence[Choice]) -> float:
    """In bits."""
    return sum(one.cost for one in choices)


def entries(new: Span, old: Span | None) -> Iterator[Entry]:
    """A tensor as rows, in as many entries as it takes. How they are told is not said yet."""
    grid, split = _grid(new)
    scaling = None if old is None else _scaling(new, old, split)
    step = max(1, MOST_NUMBERS // (grid.blocks * grid.format.numbers))
    for first in range(0, grid.rows, step):
        part = replace(grid, rows=min(step, grid.rows - first))
        place = first * grid.row_bytes
        yield Entry(
            grid=part,
            old=place + (0 if old is None else old.offset),
            new=place + new.offset,
            hows=(),
            scaling=None if scaling is None else _from(scaling, first),
        )


def _grid(span: Span) -> tuple[Grid, int]:
    """Rows of a tensor, and how many of its axes count them: one, if rows get not too long."""
    form, shape = BY_NAME[span.form], span.shape or (1,)
    if len(form.fields) > 1:
        blocks = shape[-1] // form.fields[-1].count
        if blocks * form.numbers > CHUNK:
            return Grid(format=form, rows=span.size // form.size, blocks=1), len(shape)
        return Grid(format=form, rows=prod(shape[:-1]), blocks=blocks), len(shape) - 1
    split = 1
    while prod(shape[split:]) > CHUNK:
        split += 1
    return Grid(format=form, rows=prod(shape[:split]), blocks=prod(shape[split:])), split


def _scaling(new: Span, old: Span, split: int) -> Scaling | None:
    """Which scale counts where, if both sides say it alike."""
    before, after = old.scales, new.scales
    if before is None or after is None or before.axis != after.axis:
        return None
    if (before.zeros is None) != (after.zeros is None):
        return None
    zeros = None
    if before.zeros is not None and after.zeros is not None:
        zeros = (before.zeros, after.zeros)
    found = Scaling(by=By.ALL, old=before.offset, new=after.offset, zeros=zeros)
    axis, shape = after.axis, new.shape
    if axis is None:
        return found
    if after.count > MOST_LINES:
        return None
    if axis < split:
        inner = prod(shape[axis + 1 : split])
        return replace(found, by=By.ROW, count=after.count, inner=inner)
    return replace(found, by=By.COLUMN, count=after.count, inner=prod(shape[axis + 1 :]))


def _from(scaling: Scaling, row: int) -> Scaling:
    """That of the rows from one on."""
    return replace(scaling, first=row) if scaling.by is By.ROW else scaling


def _assembled(before: Files, after: Files, told: _Told) -> Made:
    """A delta of tensors, and of all that they leave over."""
    rest = _rest(before, after, told)
    bits = told.writer.cost
    lanes = max(int(bits / 8 / LANE), told.writer.length // TURNS) + 1 if told.entries else 0
    lanes = min(lanes, MOST_LANES)
    words, plain = told.writer.finish(lanes)
    packed = (
        plan.written(told.entries) if told.entries else b"",
        edits.written(rest.edits), rest.literals, rest.differences,
    )  # fmt: skip
    data = _written(before.parts, after.parts, lanes, packed, (words, plain))
    return Made(data=data, tensors=len(told.entries), bits=bits, coded=len(words) + len(plain))


def _rest(before: Files, after: Files, told: _Told) -> Difference:
    """What no entry tells; what is the same lies in it at places of its own."""
    old = Gaps.between(_spans((one.old, one.old_end) for one in told.entries), len(before.data))
    new = Gaps.between(_spans((one.new, one.end) for one in told.entries), len(after.data))
    same = []
    for one in told.same:
        places = old.place(one.old, one.length), new.place(one.new, one.length)
        if places[0] is not None and places[1] is not None:
            same.append(replace(one, old=places[0], new=places[1]))
    return difference(old.joined(before.data), new.joined(after.data), same)


def _spans(found: Iterable[tuple[int, int]]) -> Array:
    return np.array(list(found), dtype=np.int64).reshape(-1, 2)


def _whole(new: Sequence[bytes]) -> Made:
    """The new files as they are, packed; no old file is asked for."""
    data = b"".join(new)
    told = edits.written([Edit(kind=LITERAL, length=len(data))] if data else [])
    return Made(data=_written([], new, 0, (b"", told, data, b""), (b"", b"")))


def _written(
    old: Sequence[bytes], new: Sequence[bytes], lanes: int,
    packed: Sequence[bytes], coded: Sequence[bytes],
) -> bytes:  # fmt: skip
    found = [sections.pack(data) for data in packed]
    found += [(data, Section(offset=0, size=len(data))) for data in coded]
    return header.written(lanes, _files(old, header.KNOWN), _files(new, header.DIGEST), found)


def _files(parts: Sequence[bytes], digest: int) -> list[header.File]:
    return [
        header.File(size=len(part), sha256=hashlib.sha256(part).digest()[:digest]) for part in parts
    ]
