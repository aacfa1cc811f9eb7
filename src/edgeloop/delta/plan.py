"""The plan of a delta: which tensors it tells, from which, and how; in bytes and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from edgeloop.delta.formats import FORMATS
from edgeloop.delta.grid import Grid
from edgeloop.delta.matrix import CHUNK, How
from edgeloop.delta.varints import Packer, Unpacker
from edgeloop.errors import DeltaError

MOST_NUMBERS = 1 << 22  # of one entry; larger tensors are told in several
MOST_LINES = 1 << 18  # rows and columns that have an activity of their own
MOST_FACTORS = 1 << 19  # numbers in the factors of a change
MOST_ENTRIES = 1 << 16
MOST_STRIDE = 1 << 8
PREDICTED, BY_ROW, BY_COLUMN, RANKED, STRIDED = 1, 2, 4, 8, 16


class By(IntEnum):
    """What has a scale of its own."""

    ALL = 0
    ROW = 1
    COLUMN = 2


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Which of ``count`` float32 scales counts for a row or column: ``(line // inner) % count``.

    ``first`` is the line that the entry begins with. ``zeros`` are zero points of the levels' own
    width, as many as scales, in both files or in none.
    """

    by: By
    old: int
    new: int
    count: int = 1
    inner: int = 1
    first: int = 0
    zeros: tuple[int, int] | None = None  # offsets: old, new


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tensor, or some rows of a large one: where it is in the old file and in the new one."""

    grid: Grid
    old: int
    new: int
    hows: tuple[How, ...]
    scaling: Scaling | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.grid.rows * self.grid.row_bytes

    @property
    def alone(self) -> bool:
        """Whether nothing of it is predicted, so that the old file is not asked."""
        return not any(how.predicted for how in self.hows)

    @property
    def end(self) -> int:
        """Where its place in the new file ends."""
        return self.new + self.size

    @property
    def old_end(self) -> int:
        """Where its place in the old file ends; it has none if it is told alone."""
        return self.old if self.alone else self.old + self.size


def written(entries: Sequence[Entry]) -> bytes:
    """All entries; places are told as steps from where the one before ended."""
    packer = Packer()
    packer.number(len(entries))
    old = new = scale = 0
    for entry in entries:
        packer.number(2 * FORMATS.index(entry.grid.format) + (entry.scaling is not None))
        packer.number(entry.grid.rows)
        packer.number(entry.grid.blocks)
        packer.signed(entry.old - old)
        packer.signed(entry.new - new)
        old, new = entry.old_end, entry.end
        if entry.scaling is not None:
            _write_scaling(packer, entry.scaling, scale)
            scale = entry.scaling.new
        for how in entry.hows:
            _write_how(packer, how)
    return bytes(packer.data)


def read(unpacker: Unpacker) -> Iterator[Entry]:
    """The inverse of :func:`written`, one entry at a time.

    Raises:
        DeltaError: an entry asks for more than a device is to spend, or the plan is broken.
    """
    old = new = scale = 0
    for _ in range(unpacker.number(MOST_ENTRIES)):
        number = unpacker.number(2 * len(FORMATS) - 1)
        rows, blocks = unpacker.number(MOST_NUMBERS), unpacker.number(CHUNK)
        grid = Grid(format=FORMATS[number // 2], rows=rows, blocks=blocks)
        old, new = old + unpacker.signed(), new + unpacker.signed()
        scaling = _read_scaling(unpacker, scale) if number & 1 else None
        scale = scale if scaling is None else scaling.new
        hows = tuple(_read_how(unpacker) for _ in grid.format.fields)
        entry = Entry(grid=grid, old=old, new=new, hows=hows, scaling=scaling)
        _check(entry)
        yield entry
        old, new = entry.old_end, entry.end


def _write_scaling(packer: Packer, scaling: Scaling, scale: int) -> None:
    packer.number(2 * scaling.by + (scaling.zeros is not None))
    if scaling.by is not By.ALL:
        for number in (scaling.count, scaling.inner, scaling.first):
            packer.number(number)
    packer.signed(scaling.new - scale)
    packer.signed(scaling.old - scaling.new)
    if scaling.zeros is not None:
        packer.signed(scaling.zeros[0] - scaling.old)
        packer.signed(scaling.zeros[1] - scaling.new)


def _read_scaling(unpacker: Unpacker, scale: int) -> Scaling:
    number = unpacker.number(2 * len(By) - 1)
    by, count, inner, first = By(number // 2), 1, 1, 0
    if by is not By.ALL:
        count, inner, first = unpacker.number(MOST_LINES), unpacker.number(), unpacker.number()
    new = scale + unpacker.signed()
    old = new + unpacker.signed()
    zeros = (old + unpacker.signed(), new + unpacker.signed()) if number & 1 else None
    return Scaling(by=by, old=old, new=new, count=count, inner=inner, first=first, zeros=zeros)


def _write_how(packer: Packer, how: How) -> None:
    flags = PREDICTED * how.predicted + BY_ROW * how.by_row + BY_COLUMN * how.by_column
    packer.number(flags + RANKED * bool(how.rank) + STRIDED * (how.stride > 1))
    if how.rank:
        packer.number(how.rank)
        packer.signed(how.exponent)
    if how.stride > 1:
        packer.number(how.stride)


def _read_how(unpacker: Unpacker) -> How:
    flags = unpacker.number(31)
    rank, exponent, stride = 0, 0, 1
    if flags & RANKED:
        rank, exponent = unpacker.number(MOST_FACTORS), unpacker.signed()
    if flags & STRIDED:
        stride = unpacker.number(MOST_STRIDE)
    return How(
        predicted=bool(flags & PREDICTED), by_row=bool(flags & BY_ROW),
        by_column=bool(flags & BY_COLUMN), rank=rank, exponent=exponent, stride=stride,
    )  # fmt: skip


def _check(entry: Entry) -> None:
    """Before any memory is taken for it."""
    grid, scaling = entry.grid, entry.scaling
    if not grid.rows or not grid.blocks:
        raise DeltaError("delta", "must have no empty tensor in its plan")
    if grid.blocks * grid.format.numbers > CHUNK:
        raise DeltaError("delta", f"must have rows of at most {CHUNK} numbers", got=grid.blocks)
    if grid.rows * grid.blocks * grid.format.numbers > MOST_NUMBERS:
        raise DeltaError("delta", f"must have entries of at most {MOST_NUMBERS} numbers")
    if scaling is not None and (not scaling.count or not scaling.inner or _fields(grid) > 1):
        raise DeltaError("delta", "must say for each line of a plain tensor which scale counts")
    for shape, how in zip(grid.shapes(), entry.hows, strict=True):
        _check_how(how, *shape)


def _check_how(how: How, rows: int, columns: int) -> None:
    if how.by_row and rows > MOST_LINES:
        raise DeltaError("delta", f"must have at most {MOST_LINES} rows of their own", got=rows)
    if how.rank * (rows + columns) > MOST_FACTORS:
        raise DeltaError("delta", f"must have at most {MOST_FACTORS} factors", got=how.rank)
    if how.rank > min(rows, columns):
        raise DeltaError("delta", "must have factors thinner than their product", got=how.rank)
    if not how.stride:
        raise DeltaError("delta", "must have strides of 1 or more", got=how.stride)
    if abs(how.exponent) > 2000:
        raise DeltaError("delta", "must have an exponent within 2000", got=how.exponent)


def _fields(grid: Grid) -> int:
    return len(grid.format.fields)
