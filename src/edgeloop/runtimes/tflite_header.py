"""Read what a TFLite file says of itself within bounds, before native code gets to see it.

The form is a FlatBuffer: tables whose places are told relative to each other.
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgeloop.errors import ModelError

IDENTIFIER, VERSION = b"TFL3", 3
LARGEST = 1 << 30  # bytes of a file, and of what one of its tensors takes in memory
MOST_ENTRIES = 100_000  # of one list
# a table's fields, by their place in schema.fbs
MODEL = {"version": 0, "operator codes": 1, "subgraphs": 2, "buffers": 4, "outside": 8}
SUBGRAPH = {"tensors": 0, "inputs": 1, "outputs": 2, "operators": 3}
TENSOR = {"shape": 0, "type": 1, "buffer": 2, "quantization": 4, "variable": 5}
QUANTIZATION = {"scales": 2}
CODE = {"old": 0, "builtin": 3}
OPERATOR = {"code": 0, "inputs": 1, "outputs": 2}
SIZES = {  # number of a type -> bytes of an element; the others are smaller than a byte, or none
    0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2,
    17: 1, 18: 2, 19: 1, 20: 1, 21: 1, 22: 1,
}  # fmt: skip
TEXTS, HANDLES = 5, (13, 14)  # types without a size of their own
REMEMBERING = (142, 143, 144)  # operators of variables, which outlive an answer
ABSENT = -1  # where an operator leaves out an input
OPTIONAL = {  # number of an operator -> the first of its inputs that may be absent
    3: 2, 4: 2, 9: 2, 16: 1, 27: 3, 44: 1, 52: 1, 67: 3, 132: 2, 141: 3,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Header:
    """What counts of a file. ``remembers``: it keeps variables from one answer to the next."""

    remembers: bool


class _Broken(Exception):  # noqa: N818  (never leaves this module)
    """The rule that the bytes break, and what was got."""

    def __init__(self, rule: str, got: object) -> None:
        super().__init__(rule)
        self.rule, self.got = rule, got


def read_header(content: bytes, name: str) -> Header:
    """The header of the file of these bytes, whose tables lie within it.

    Raises:
        ModelError: it is no TFLite file, cut short, broken or too large, or keeps tensors in
            other files.
    """
    try:
        return _read(_Bytes(content))
    except _Broken as fault:
        raise ModelError(
            f"model file {name}",
            fault.rule,
            got=fault.got,
            todo="It may be cut short: fetch it again, or convert the model anew",
        ) from fault


class _Bytes:
    """Numbers at places, never outside."""

    def __init__(self, content: bytes) -> None:
        if len(content) < 8 or content[4:8] != IDENTIFIER:
            raise _Broken("must be a TFLite file", f"{len(content)} bytes without {IDENTIFIER!r}")
        if len(content) > LARGEST:
            raise _Broken(f"must have {LARGEST} bytes or fewer", len(content))
        self._content = content

    def number(self, form: str, place: int) -> int:
        """A whole number of ``struct``'s form."""
        if not 0 <= place <= len(self._content) - struct.calcsize(form):
            rule = "must be a whole TFLite file"
            raise _Broken(rule, f"{len(self._content)} bytes, with a table outside of them")
        return int(struct.unpack_from(f"<{form}", self._content, place)[0])

    def root(self) -> _Table:
        """The table with which all begins."""
        return _Table(self, self.number("I", 0))


class _Table:
    """A table at a place: fields by number, absent ones with a default."""

    def __init__(self, data: _Bytes, place: int) -> None:
        self._data, self._place = data, place
        self._fields = place - data.number("i", place)
        self._count = data.number("H", self._fields) // 2 - 2

    def number(self, field: int, form: str, default: int = 0) -> int:
        """A whole number."""
        place = self._field(field)
        return default if place is None else self._data.number(form, place)

    def numbers(self, field: int) -> list[int]:
        """A list of int32."""
        return [self._data.number("i", place) for place in self._entries(field)]

    def floats(self, field: int) -> list[float]:
        """A list of float32."""
        bits = (self._data.number("I", place) for place in self._entries(field))
        return [float(struct.unpack("<f", struct.pack("<I", one))[0]) for one in bits]

    def table(self, field: int) -> _Table | None:
        """A table, if it is there."""
        place = self._field(field)
        return None if place is None else _Table(self._data, place + self._data.number("I", place))

    def tables(self, field: int) -> list[_Table]:
        """A list of tables."""
        places = self._entries(field)
        return [_Table(self._data, place + self._data.number("I", place)) for place in places]

    def _field(self, field: int) -> int | None:
        if field >= self._count:
            return None
        place = self._data.number("H", self._fields + 4 + 2 * field)
        return self._place + place if place else None

    def _entries(self, field: int) -> Iterator[int]:
        place = self._field(field)
        if place is None:
            return iter(())
        start = place + self._data.number("I", place)
        count = self._data.number("I", start)
        if count > MOST_ENTRIES:
            raise _Broken(f"must have lists of {MOST_ENTRIES} entries or fewer", count)
        return iter(range(start + 4, start + 4 + 4 * count, 4))


def _read(data: _Bytes) -> Header:
    model = data.root()
    version = model.number(MODEL["version"], "I")
    if version != VERSION:
        raise _Broken(f"must be of version {VERSION}", version)
    if model.tables(MODEL["outside"]):
        raise _Broken("must hold all of its tensors", "some in other files")
    codes = [_operator(code) for code in model.tables(MODEL["operator codes"])]
    buffers = len(model.tables(MODEL["buffers"]))
    subgraphs = model.tables(MODEL["subgraphs"])
    if not subgraphs:
        raise _Broken("must hold a graph", "none")
    kept = [_check_subgraph(subgraph, codes, buffers) for subgraph in subgraphs]
    return Header(remembers=any(kept) or any(code in REMEMBERING for code in codes))


def _operator(code: _Table) -> int:
    """The number of an operator: the larger of a field and of the byte that it had outgrown."""
    return max(code.number(CODE["builtin"], "i"), code.number(CODE["old"], "b"))


def _check_subgraph(subgraph: _Table, codes: list[int], buffers: int) -> bool:
    """Raise where a number points at nothing; gives whether a tensor is a variable."""
    tensors = subgraph.tables(SUBGRAPH["tensors"])
    for tensor in tensors:
        _check_tensor(tensor, buffers)
    places = subgraph.numbers(SUBGRAPH["inputs"]) + subgraph.numbers(SUBGRAPH["outputs"])
    for operator in subgraph.tables(SUBGRAPH["operators"]):
        code = operator.number(OPERATOR["code"], "I")
        if code >= len(codes):
            raise _Broken(f"must have operators of its {len(codes)} kinds", code)
        places += _given(operator, codes[code]) + operator.numbers(OPERATOR["outputs"])
    wild = [place for place in places if not 0 <= place < len(tensors)]
    if wild:
        raise _Broken(f"must name tensors from 0 to {len(tensors) - 1}", wild[0])
    return any(tensor.number(TENSOR["variable"], "B") for tensor in tensors)


def _given(operator: _Table, kind: int) -> list[int]:
    """The inputs of an operator, but for absent ones where it can do without."""
    inputs = operator.numbers(OPERATOR["inputs"])
    needed = OPTIONAL.get(kind, len(inputs))
    return inputs[:needed] + [place for place in inputs[needed:] if place != ABSENT]


def _check_tensor(tensor: _Table, buffers: int) -> None:
    kind, shape = tensor.number(TENSOR["type"], "b"), tensor.numbers(TENSOR["shape"])
    if kind not in SIZES and kind not in (TEXTS, *HANDLES):
        raise _Broken("must have tensors of known types", f"type {kind}")
    if tensor.number(TENSOR["buffer"], "I") >= max(buffers, 1):
        raise _Broken(f"must have tensors in its {buffers} buffers", tensor.number(2, "I"))
    if math.prod(max(size, 1) for size in shape) * SIZES.get(kind, 1) > LARGEST:
        raise _Broken(f"must have tensors of {LARGEST} bytes or fewer", shape)
    quantization = tensor.table(TENSOR["quantization"])
    scales = quantization.floats(QUANTIZATION["scales"]) if quantization else []
    wild = [scale for scale in scales if not 0 <= scale < math.inf]  # NaN is none of these
    if wild:  # LiteRT ends the process over one
        raise _Broken("must have scales that are finite and not negative", wild[0])
