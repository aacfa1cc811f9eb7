"""A tensor as rows of blocks: its fields predicted and coded in turn, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.delta import matrix
from edgeloop.delta.floats import Floats
from edgeloop.delta.levels import AS_THEY_ARE, Affine, Levels
from edgeloop.delta.matrix import How, Side

if TYPE_CHECKING:
    from edgeloop.delta.coder import Coder
    from edgeloop.delta.formats import Format
    from edgeloop.types import Array


@dataclass(frozen=True, kw_only=True)
class Means:
    """What levels stand for in the old tensor and in the new one."""

    old: Affine = AS_THEY_ARE
    new: Affine = AS_THEY_ARE


@dataclass(frozen=True, kw_only=True)
class Grid:
    """``rows`` of so many ``blocks`` each, of one format."""

    format: Format
    rows: int
    blocks: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.blocks * self.format.size

    def shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each field."""
        return [(self.rows, self.blocks * field.count) for field in self.format.fields]

    def chunks(self) -> Iterator[slice]:
        """Rows that are worked on at a time."""
        return matrix.chunks(self.rows, self.blocks * self.format.numbers)

    def unpack(self, raw: Array) -> list[Array]:
        """``uint8[rows, row_bytes]`` -> ``int64[rows, columns]`` of each field."""
        fields = self.format.unpack(raw.reshape(-1, self.format.size))
        return [field.reshape(len(raw), -1) for field in fields]

    def pack(self, fields: Sequence[Array]) -> Array:
        """The inverse of :meth:`unpack`."""
        rows = len(fields[0])
        packed = self.format.pack(self._by_block(fields))
        raw: Array = packed.reshape(rows, self.row_bytes)
        return raw

    def numbers(
        self, index: int, old: Sequence[Array], new: Sequence[Array], means: Means
    ) -> Floats | Levels:
        """One field of some rows, ready to be coded; of ``new``, the fields before it count.

        ``means`` are a plain tensor's, whose scales lie elsewhere.
        """
        field = self.format.fields[index]
        if field.layout is not None:
            return Floats(old=old[index], layout=field.layout)
        if len(self.format.fields) > 1:
            means = Means(old=self._means(index, old), new=self._means(index, new))
        return Levels(
            old=old[index], old_means=means.old, new_means=means.new,
            least=field.least, most=field.most,
        )  # fmt: skip

    def _means(self, index: int, fields: Sequence[Array]) -> Affine:
        rows = len(fields[0])
        means = self.format.meaning(index, self._by_block(fields[:index]))
        return Affine(scale=_wide(means.scale, rows), offset=_wide(means.offset, rows))

    def _by_block(self, fields: Sequence[Array]) -> list[Array]:
        """Each field's numbers block by block."""
        counts = (field.count for field in self.format.fields)
        return [one.reshape(-1, count) for one, count in zip(fields, counts, strict=False)]


def _wide(numbers: Array, rows: int) -> Array:
    """What was by block, by row; one number stays one."""
    return numbers if numbers.size == 1 else numbers.reshape(rows, -1)


@dataclass(frozen=True, kw_only=True)
class Told:
    """How a field is coded; ``side`` is known to a writer alone."""

    how: How
    side: Side | None = None


def code(
    coder: Coder,
    grid: Grid,
    told: Sequence[Told],
    old: Callable[[slice], Array],
    means: Callable[[slice], Means],
    given: Callable[[slice], Array] | None = None,
) -> Iterator[Array]:
    """Write or read the new tensor, ``uint8[some rows, row_bytes]`` at a time.

    ``old`` and ``given`` give such rows of the old tensor and, to a writer, of the new one.
    ``means`` says what the levels of a plain tensor stand for.
    """
    sides = [
        matrix.code_side(coder, shape, one.how, one.side)
        for shape, one in zip(grid.shapes(), told, strict=True)
    ]
    for rows in grid.chunks():
        before = grid.unpack(old(rows))
        known = None if given is None else grid.unpack(given(rows))
        found: list[Array] = []
        for index, (one, side) in enumerate(zip(told, sides, strict=True)):
            numbers = grid.numbers(index, before, found, means(rows))
            part = matrix.part(one.how, side, rows, numbers.shape[1])
            found.append(numbers.code(coder, part, None if known is None else known[index]))
        yield grid.pack(found)
