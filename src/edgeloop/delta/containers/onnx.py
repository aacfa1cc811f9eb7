"""Find the tensors of an ONNX file: the constants that its graph carries, with their scales.

The form is protobuf's: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3. Constants within
the graphs of branches and loops are left as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from edgeloop.delta.containers.foreign import MOST_AXES, BrokenError, Foreign
from edgeloop.delta.layout import PIECES, Scales, Span, axis_of

VARINT, EIGHT, PIECE, FOUR = 0, 1, 2, 5  # how a field's value is written
GRAPH = 7  # of a model
NODE, INITIALIZER = 1, 5  # of a graph
INPUT, OUTPUT, OPERATOR, ATTRIBUTE = 1, 2, 4, 5  # of a node
ATTRIBUTE_NAME, ATTRIBUTE_NUMBER, ATTRIBUTE_TENSOR = 1, 3, 5
DIMS, TYPE, FLOATS, INTEGERS, NAME, RAW = 1, 2, 4, 5, 8, 9  # of a tensor
TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 16: "bfloat16"}
CONSTANT, DEQUANTIZE = b"Constant", b"DequantizeLinear"


class _Field(NamedTuple):
    number: int
    value: int  # of a varint; 0 for others
    begin: int
    end: int  # the beginning for a varint


@dataclass(frozen=True, kw_only=True)
class _Use:
    """What makes real numbers of levels: names of scales and zero points, and the axis of both."""

    scale: str
    zero: str
    axis: int


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    """A constant. ``place``: where its bytes lie as its form wants them, ``told`` as they are."""

    name: str
    form: str
    shape: tuple[int, ...]
    place: int | None
    told: tuple[int, int]

    @property
    def size(self) -> int:
        """Bytes that its numbers take."""
        return prod(self.shape) * PIECES[self.form][1]


# operator -> of its inputs: levels, scale, zero point; axis of the scales
USES = {
    DEQUANTIZE: ((0, 1, 2, 1),),
    b"QLinearConv": ((3, 4, 5, 0),),
    b"QLinearMatMul": ((0, 1, 2, -2), (3, 4, 5, -1)),
    b"QGemm": ((3, 4, 5, -1),),
    b"DynamicQuantizeMatMul": ((1, 2, 3, -1),),
}


def spans(data: memoryview) -> list[Span]:
    """The constants whose bytes the file holds as they are.

    Raises:
        BrokenError: it is no such file.
    """
    foreign = Foreign(data)
    graphs = [one for one in _fields(foreign, 0, len(data)) if one.number == GRAPH]
    if not graphs:
        raise BrokenError
    return [span for graph in graphs for span in _graph(foreign, graph)]


def _graph(foreign: Foreign, graph: _Field) -> Iterator[Span]:
    found: dict[str, _Tensor] = {}
    uses: dict[str, _Use] = {}
    for field in _fields(foreign, graph.begin, graph.end):
        if field.number == INITIALIZER:
            tensors = _tensors(foreign, [field])
        elif field.number == NODE:
            node = _Node(foreign, field)
            uses |= node.uses()
            tensors = node.constants()
        else:
            continue
        found |= {one.name: one for one in tensors}
    for one in found.values():
        if one.place is not None:
            yield _span(foreign, one, found, uses)


def _span(
    foreign: Foreign, one: _Tensor, found: Mapping[str, _Tensor], uses: Mapping[str, _Use]
) -> Span:
    use = uses.get(one.name) or _by_name(one.name)
    return Span(
        name=one.name,
        offset=one.place or 0,
        size=one.size,
        form=one.form,
        shape=one.shape,
        scales=None if use is None else _scales(foreign, one, use, found),
    )


def _by_name(name: str) -> _Use | None:
    """As ONNX Runtime names what scales ``name``, where no operator takes both."""
    before, end, _ = name.rpartition("_quantized")
    return _Use(scale=f"{before}_scale", zero=f"{before}_zero_point", axis=-1) if end else None


def _scales(
    foreign: Foreign, levels: _Tensor, use: _Use, found: Mapping[str, _Tensor]
) -> Scales | None:
    scale, zero = found.get(use.scale), found.get(use.zero)
    if scale is None or scale.place is None or scale.form != "float32":
        return None
    zeros = None
    if use.zero:
        if zero is None or zero.form != levels.form:
            return None
        if any(foreign.take(zero.told[0], zero.told[1] - zero.told[0])):
            if zero.place is None or zero.shape != scale.shape:
                return None
            zeros = zero.place
    count = scale.size // 4
    axis = axis_of(levels.shape, count, first=use.axis)
    if axis is None and count != 1:
        return None
    return Scales(offset=scale.place, count=count, axis=axis, zeros=zeros)


class _Node:
    """An operator of the graph; only what is asked for is read."""

    def __init__(self, foreign: Foreign, node: _Field) -> None:
        self._foreign = foreign
        self._inputs: list[_Field] = []
        self._outputs: list[_Field] = []
        self._attributes: list[_Field] = []
        self._operator = b""
        lists = {INPUT: self._inputs, OUTPUT: self._outputs, ATTRIBUTE: self._attributes}
        for field in _fields(foreign, node.begin, node.end):
            if field.number == OPERATOR:
                self._operator = foreign.take(field.begin, field.end - field.begin)
            elif field.number in lists:
                lists[field.number].append(field)

    def uses(self) -> dict[str, _Use]:
        """By the name of the levels, what scales them."""
        found = {}
        for levels, scale, zero, axis in USES.get(self._operator, ()):
            if len(self._inputs) > scale:
                found[self._input(levels)] = _Use(
                    scale=self._input(scale), zero=self._input(zero), axis=self._axis(axis)
                )
        return found

    def constants(self) -> list[_Tensor]:
        """The tensor that the operator is, under the name of its output."""
        if self._operator != CONSTANT or len(self._outputs) != 1:
            return []
        name = _text(self._foreign, self._outputs[0])
        told = [
            field
            for one in self._attributes
            for field in _fields(self._foreign, one.begin, one.end)
            if field.number == ATTRIBUTE_TENSOR
        ]
        return _tensors(self._foreign, told[:1], name)

    def _input(self, index: int) -> str:
        inputs = self._inputs
        return _text(self._foreign, inputs[index]) if index < len(inputs) else ""

    def _axis(self, default: int) -> int:
        """The attribute ``axis``; a whole number of 64 bits, which may be negative."""
        for one in self._attributes:
            told = {field.number: field for field in _fields(self._foreign, one.begin, one.end)}
            name, number = told.get(ATTRIBUTE_NAME), told.get(ATTRIBUTE_NUMBER)
            if name and number and _text(self._foreign, name) == "axis":
                return number.value - (1 << 64) if number.value >> 63 else number.value
        return default


def _tensors(foreign: Foreign, fields: Iterable[_Field], name: str = "") -> list[_Tensor]:
    """Those of known types."""
    found = (_tensor(foreign, field, name) for field in fields)
    return [one for one in found if one is not None]


def _tensor(foreign: Foreign, tensor: _Field, name: str = "") -> _Tensor | None:
    """A tensor of a known type; ``name`` wins over its own."""
    dims: list[int] = []
    kind, lists, raw = 0, list[_Field](), None
    for field in _fields(foreign, tensor.begin, tensor.end):
        if field.number == DIMS:
            dims += _packed(foreign, field)
        elif field.number == TYPE:
            kind = field.value
        elif field.number == NAME:
            name = name or _text(foreign, field)
        elif field.number == RAW:
            raw = field
        elif field.number in {FLOATS, INTEGERS}:
            lists.append(field)
    if kind not in TYPES or len(dims) > MOST_AXES:
        return None
    form, count = TYPES[kind], prod(dims)
    told = raw or (lists[0] if len(lists) == 1 else _Field(0, 0, 0, 0))
    place = told.begin if raw or _as_they_are(told, form, count) else None
    return _Tensor(
        name=name, form=form, shape=tuple(dims), place=place, told=(told.begin, told.end)
    )


def _as_they_are(told: _Field, form: str, count: int) -> bool:
    """Whether a list of numbers is written as the bytes of its form.

    Floats are. Small numbers are varints: one byte for each from 0 to 127; and of a single one the
    first byte is what an 8-bit number has, whatever follows.
    """
    size = told.end - told.begin
    if told.number == FLOATS:
        return form == "float32" and size == 4 * count
    return told.number == INTEGERS and form in {"int8", "uint8"} and 0 < count in {1, size}


def _text(foreign: Foreign, field: _Field) -> str:
    return foreign.text(field.begin, field.end - field.begin)


def _fields(foreign: Foreign, place: int, last: int) -> Iterator[_Field]:
    """The fields of a message from ``place`` to ``last``, which they fill."""
    while place < last:
        key, place = _number(foreign, place)
        wire, value, length = key & 7, 0, 0
        if wire in {VARINT, PIECE}:
            value, place = _number(foreign, place)
            length = value if wire == PIECE else 0
        elif wire in {EIGHT, FOUR}:
            length = 8 if wire == EIGHT else 4
        else:
            raise BrokenError
        if place + length > last:
            raise BrokenError
        yield _Field(key >> 3, value if wire == VARINT else 0, place, place + length)
        place += length


def _packed(foreign: Foreign, field: _Field) -> list[int]:
    """Whole numbers of a field that may hold one or, one behind the other, many."""
    if field.begin == field.end:
        return [field.value]
    found, place = [], field.begin
    while place < field.end:
        value, place = _number(foreign, place)
        found.append(value)
    return found


def _number(foreign: Foreign, place: int) -> tuple[int, int]:
    """A varint, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = foreign.byte(place)
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise BrokenError
