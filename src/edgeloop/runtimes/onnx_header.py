"""Look through an ONNX file within bounds, so that what no graph needs reaches no runtime.

The form is protobuf's: fields one behind the other, each a number with a value or with a length.
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod

from edgeloop.errors import ModelError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})  # ONNX's own, the runtime's own
DEEPEST = 40  # messages in messages; a graph of a branch in a branch is six deeper
WHOLE = "must be a whole ONNX graph"
ADVICE = "It may be cut short, need files beside it, or use operators of another domain"
NUMBER, EIGHT, PIECE, FOUR = 0, 1, 2, 5  # how a field's value is written
WITHIN = {  # message -> number of a field -> the message that it holds
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}
NODE_DOMAIN, FUNCTION_DOMAIN = 7, 10
DIMS, NAME, OUTSIDE, PLACE = 1, 8, 13, 14  # of a tensor


@dataclass(frozen=True, kw_only=True)
class _Field:
    number: int
    value: int  # of a number; 0 for others
    piece: memoryview  # of a piece; empty for others


class _Broken(Exception):  # noqa: N818  (never leaves this module)
    """The rule that the bytes break, and what was got."""

    def __init__(self, rule: str, got: object) -> None:
        super().__init__(rule)
        self.rule, self.got = rule, got


def check(content: bytes, name: str, beside: Collection[str] = ()) -> None:
    """Return when the graph keeps its tensors in itself and uses operators of known domains.

    Tensors named in ``beside`` are handed to the runtime from memory, so they may be left open.

    Raises:
        ModelError: it is no protobuf, is nested too deep, names a file for a tensor, states a
            tensor larger than it holds, or uses operators of a domain that it does not define.
    """
    found = _Found(frozenset(beside))
    try:
        found.walk("model", memoryview(content), 0)
        found.check_domains()
    except _Broken as fault:
        raise ModelError(f"model file {name}", fault.rule, got=fault.got, todo=ADVICE) from fault


class _Found:
    """What a walk has met so far."""

    def __init__(self, beside: frozenset[str]) -> None:
        self._beside = beside
        self.used: set[str] = set()
        self.defined: set[str] = set()

    def walk(self, kind: str, data: memoryview, depth: int) -> None:
        """Look at a message, and at those in it."""
        if depth > DEEPEST:
            raise _Broken(f"must be nested at most {DEEPEST} deep", "more")
        if kind == "tensor":
            self._check_tensor(data)
            return
        for field in _fields(data):
            inner = WITHIN[kind].get(field.number)
            if inner is not None:
                self.walk(inner, field.piece, depth + 1)
            elif kind == "node" and field.number == NODE_DOMAIN:
                self.used.add(_text(field.piece))
            elif kind == "function" and field.number == FUNCTION_DOMAIN:
                self.defined.add(_text(field.piece))

    def check_domains(self) -> None:
        """Raise when an operator is of a domain that nobody here defines."""
        strange = sorted(self.used - self.defined - DOMAINS)
        if strange:
            raise _Broken("must use operators of known domains", strange[0])

    def _check_tensor(self, data: memoryview) -> None:
        fields = [field for field in _fields(data) if field.number in {DIMS, NAME, OUTSIDE, PLACE}]
        name = "".join(_text(field.piece) for field in fields if field.number == NAME)
        if name in self._beside:
            return
        if any(one.number == OUTSIDE or (one.number == PLACE and one.value) for one in fields):
            raise _Broken(f"{WHOLE}, with its tensors in it", f"{name!r} outside")
        sizes = [size for one in fields if one.number == DIMS for size in _sizes(one)]
        if prod(sizes) > 8 * len(data):  # the smallest elements have one bit
            raise _Broken(f"must hold the whole tensor {name!r}", f"{sizes} in {len(data)} bytes")


def _sizes(field: _Field) -> Iterator[int]:
    """The sizes that a field of a tensor's dimensions holds: one, or several packed."""
    if not field.piece:
        yield field.value
    place = 0
    while place < len(field.piece):
        size, place = _number(field.piece, place)
        yield size


def _fields(data: memoryview) -> Iterator[_Field]:
    place = 0
    while place < len(data):
        key, place = _number(data, place)
        number, form = key >> 3, key & 7
        value, length = 0, {EIGHT: 8, FOUR: 4}.get(form, 0)
        if form in {NUMBER, PIECE}:
            value, place = _number(data, place)
            length = value if form == PIECE else 0
        elif not length:
            raise _Broken(WHOLE, f"a field of form {form}")
        if length > len(data) - place:
            raise _Broken(WHOLE, "a field behind its end")
        piece = data[place : place + length] if form == PIECE else data[:0]
        place += length
        yield _Field(number=number, value=0 if form == PIECE else value, piece=piece)


def _number(data: memoryview, place: int) -> tuple[int, int]:
    """A number of at most ten bytes, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # the last of its bytes
            return value, place
    raise _Broken(WHOLE, "a number without its end")


def _text(piece: memoryview) -> str:
    return bytes(piece[:256]).decode(errors="replace")
