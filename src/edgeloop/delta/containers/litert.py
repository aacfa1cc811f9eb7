"""Find the tensors of a LiteRT file: the buffers of its graphs' constants, with their scales.

The form is a FlatBuffer: tables whose places are told relative to each other.
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from edgeloop.delta.containers.foreign import MOST_AXES, BrokenError, Foreign
from edgeloop.delta.layout import PIECES, Scales, Span, axis_of

IDENTIFIER = b"TFL3"
# a table's fields, by their place in schema.fbs
SUBGRAPHS, BUFFERS = 2, 4  # of a model
TENSORS = 0  # of a graph
SHAPE, TYPE, BUFFER, NAME, QUANTIZATION, SPARSITY = 0, 1, 2, 3, 4, 6  # of a tensor
SCALES, ZEROS, AXIS = 2, 3, 6  # of a quantization
DATA, OUTSIDE, OUTSIDE_SIZE = 0, 1, 2  # of a buffer: here, or behind the tables
TYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8", 18: "bfloat16",
}  # fmt: skip


def spans(data: memoryview) -> list[Span]:
    """The constants of known types, and the scales that they have, as tensors too.

    A sparse one is a row of the numbers that it holds.

    Raises:
        BrokenError: it is no such file.
    """
    foreign = Foreign(data)
    if foreign.take(4, 4) != IDENTIFIER:
        raise BrokenError
    model = _Table(foreign, foreign.number("I", 0))
    buffers = model.tables(BUFFERS)
    tensors = [one for graph in model.tables(SUBGRAPHS) for one in graph.tables(TENSORS)]
    found: list[Span] = []
    for tensor in tensors:
        place = _buffer(buffers, tensor.number(BUFFER, "I"))
        if place.length:
            found += _spans(foreign, tensor, place)
    return found


class _Place(NamedTuple):
    """A list within the file: where its first entry is, and how many there are."""

    begin: int
    length: int


NOWHERE = _Place(0, 0)


class _Table:
    """A table at a place: fields by number, absent ones with a default."""

    def __init__(self, foreign: Foreign, place: int) -> None:
        self._foreign, self._place = foreign, place
        self._fields = place - foreign.number("i", place)
        self._count = foreign.number("H", self._fields) // 2 - 2

    def number(self, field: int, form: str) -> int:
        """A whole number; 0 is the default of all that are read here."""
        place = self._field(field)
        return self._foreign.number(form, place) if place else 0

    def table(self, field: int) -> _Table | None:
        """A table, if it is there."""
        place = self._field(field)
        return _Table(self._foreign, self._behind(place)) if place else None

    def tables(self, field: int) -> list[_Table]:
        """A list of tables."""
        begin, count = self.entries(field, 4)
        places = range(begin, begin + 4 * count, 4)
        return [_Table(self._foreign, self._behind(place)) for place in places]

    def entries(self, field: int, size: int) -> _Place:
        """A list whose entries take ``size`` bytes."""
        place = self._field(field)
        if not place:
            return NOWHERE
        start = self._behind(place)
        count = self._foreign.number("I", start)
        self._foreign.check(start + 4, count * size)
        return _Place(start + 4, count)

    def _behind(self, place: int) -> int:
        return place + self._foreign.number("I", place)

    def _field(self, field: int) -> int:
        """Where a field is; 0 where it is not."""
        if field >= self._count:
            return 0
        place = self._foreign.number("H", self._fields + 4 + 2 * field)
        return self._place + place if place else 0


def _buffer(buffers: list[_Table], index: int) -> _Place:
    """The bytes of a buffer; none for a tensor that is computed."""
    if index >= len(buffers):
        raise BrokenError
    found = buffers[index].entries(DATA, 1)
    if found.length:
        return found
    return _Place(buffers[index].number(OUTSIDE, "Q"), buffers[index].number(OUTSIDE_SIZE, "Q"))


def _spans(foreign: Foreign, tensor: _Table, place: _Place) -> Iterator[Span]:
    """A constant, and what scales it."""
    form, axes = TYPES.get(tensor.number(TYPE, "b")), tensor.entries(SHAPE, 4)
    if form is None or axes.length > MOST_AXES:
        return
    width = PIECES[form][1]
    shape = tuple(foreign.number("i", axes.begin + 4 * axis) for axis in range(axes.length))
    if tensor.table(SPARSITY):
        shape = (place.length // width,)
    name, scales = foreign.text(*tensor.entries(NAME, 1)), _scales(foreign, tensor, shape)
    size = prod(shape) * width
    yield Span(name=name, offset=place.begin, size=size, form=form, shape=shape, scales=scales)
    if scales:
        name, count = f"{name}:scales", scales.count
        yield Span(
            name=name, offset=scales.offset, size=count * 4, form="float32", shape=(count,)
        )  # fmt: skip


def _scales(foreign: Foreign, tensor: _Table, shape: tuple[int, ...]) -> Scales | None:
    """The scales of a tensor.

    Zero points have 64 bits there. A single one begins with the bytes that a smaller number has;
    of many only zeros are of use.
    """
    told = tensor.table(QUANTIZATION)
    if told is None:
        return None
    scales, zeros = told.entries(SCALES, 4), told.entries(ZEROS, 8)
    axis = axis_of(shape, scales.length, first=told.number(AXIS, "i"))
    if not scales.length or (axis is None and scales.length != 1):
        return None
    if not any(foreign.take(zeros.begin, zeros.length * 8)):
        return Scales(offset=scales.begin, count=scales.length, axis=axis)
    if scales.length != 1 or zeros.length != 1:
        return None
    return Scales(offset=scales.begin, count=1, axis=None, zeros=zeros.begin)
