"""Read the header of a GGUF file within bounds, so that no broken file reaches native code.

The form: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A runtime maps such a file and
trusts its header: a tensor that ends behind the file's end would kill the process later.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from edgeloop.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

MAGIC, VERSIONS = b"GGUF", (2, 3)
MOST_ENTRIES, MOST_TENSORS, MOST_AXES = 4096, 65_536, 4
MOST_TEXT = 1 << 24  # bytes of one text, e.g. a chat template
STRING, ARRAY = 8, 9
NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
TYPES = {  # ggml's number of a tensor type -> (elements, bytes) of one block
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56),
    30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor of the file. ``shape`` has the fastest axis first, as ggml writes it."""

    name: str
    type: int  # ggml's number
    shape: tuple[int, ...]
    offset: int  # bytes behind the beginning of all tensors' data
    size: int  # bytes


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of itself; of an array only its length is kept."""

    entries: Mapping[str, Value]
    tensors: Mapping[str, Tensor]


class _Broken(Exception):  # noqa: N818  (never leaves this module)
    """The rule that the bytes break, and what was got."""

    def __init__(self, rule: str, got: object) -> None:
        super().__init__(rule)
        self.rule, self.got = rule, got


def read_header(path: Path | None, name: str) -> Header:
    """The header of the file at ``path``, whose tensors all lie within it.

    Raises:
        ModelError: it is missing, cut short or broken, has tensors of an unknown type or outside
            the file, or a tokenizer with another number of tokens than its weights have.
    """
    if path is None:
        raise ModelError(f"model file {name}", "must be there", got="none")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header, start = _parsed(_Cursor(data))
            _check_extents(header.tensors, len(data) - start)
        _check_tokenizer(header)
    except (_Broken, OSError, ValueError) as fault:  # mmap has a ValueError for an empty file
        told = fault if isinstance(fault, _Broken) else _Broken("must be a whole GGUF file", fault)
        raise ModelError(
            f"model file {name}",
            told.rule,
            got=told.got,
            todo="It may be cut short: fetch it again",
        ) from fault
    return header


class _Cursor:
    """Takes values one behind the other, never behind the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.place = data, 0

    def skip(self, count: int) -> int:
        """The place before ``count`` bytes, which are there."""
        before, after = self.place, self.place + count
        if after > len(self._data):
            raise _Broken("must be a whole GGUF file", f"{len(self._data)} bytes, its header more")
        self.place = after
        return before

    def take(self, count: int) -> bytes:
        """``count`` bytes."""
        start = self.skip(count)
        return self._data[start : start + count]

    def number(self, form: str) -> int:
        """A whole number of ``struct``'s form."""
        size = struct.calcsize(form)
        return int(struct.unpack_from(f"<{form}", self._data, self.skip(size))[0])

    def text(self) -> str:
        """A text behind its length."""
        length = self.number("Q")
        if length > MOST_TEXT:
            raise _Broken(f"must have texts of {MOST_TEXT} bytes or fewer", length)
        return self.take(length).decode(errors="replace")

    def value(self, kind: int) -> Value:
        """A value of GGUF's kind; of an array its length."""
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self._array()
        form = _form(kind)
        found: Value = struct.unpack_from(f"<{form}", self._data, self.skip(struct.calcsize(form)))[
            0
        ]
        return found

    def _array(self) -> int:
        kind, length = self.number("I"), self.number("Q")
        if kind != STRING:
            self.skip(length * struct.calcsize(_form(kind)))
            return length
        if length * 8 > len(self._data):
            raise _Broken("must be a whole GGUF file", f"an array of {length} texts")
        for _ in range(length):
            self.skip(self.number("Q"))
        return length


def _form(kind: int) -> str:
    if kind not in NUMBERS:
        raise _Broken("must hold values of GGUF's kinds only", f"kind {kind}")
    return NUMBERS[kind]


def _parsed(cursor: _Cursor) -> tuple[Header, int]:
    """The header, and where the tensors' data begins."""
    magic, version = cursor.take(4), cursor.number("I")
    if magic != MAGIC or version not in VERSIONS:
        raise _Broken(
            f"must be GGUF of version {' or '.join(map(str, VERSIONS))}", (magic, version)
        )
    tensors, entries = cursor.number("Q"), cursor.number("Q")
    if tensors > MOST_TENSORS or entries > MOST_ENTRIES:
        rule = f"must have {MOST_TENSORS} tensors and {MOST_ENTRIES} entries or fewer"
        raise _Broken(rule, f"{tensors} and {entries}")
    told = {cursor.text(): cursor.value(cursor.number("I")) for _ in range(entries)}
    found = [_tensor(cursor) for _ in range(tensors)]
    alignment = told.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 8 <= alignment <= 4096:
        raise _Broken("must have an alignment from 8 to 4096", alignment)
    start = -(-cursor.place // alignment) * alignment
    return Header(entries=told, tensors={one.name: one for one in found}), start


def _tensor(cursor: _Cursor) -> Tensor:
    name, axes = cursor.text(), cursor.number("I")
    if not 1 <= axes <= MOST_AXES:
        raise _Broken(f"must have tensors of 1 to {MOST_AXES} axes", f"{axes} in {name}")
    shape = tuple(cursor.number("Q") for _ in range(axes))
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind not in TYPES:
        raise _Broken("must have tensors of known types", f"type {kind} in {name}")
    elements, size = TYPES[kind]
    if 0 in shape or shape[0] % elements:
        raise _Broken(f"must have rows of a multiple of {elements} in {name}", list(shape))
    count = 1
    for length in shape:
        count *= length
    return Tensor(name=name, type=kind, shape=shape, offset=offset, size=count // elements * size)


def _check_extents(tensors: Mapping[str, Tensor], room: int) -> None:
    """Raise unless every tensor ends within ``room`` bytes of data."""
    if not tensors:
        raise _Broken("must hold tensors", "none")
    last = max(tensors.values(), key=lambda one: one.offset + one.size)
    if last.offset + last.size > room:
        rule = (
            f"must hold the whole tensor {last.name}, which ends at byte {last.offset + last.size}"
        )
        raise _Broken(rule, f"{max(room, 0)} bytes of tensors")


def _check_tokenizer(header: Header) -> None:
    """Raise when the tokenizer has another number of tokens than the weights have rows for."""
    tokens, rows = (
        header.entries.get("tokenizer.ggml.tokens"),
        header.tensors.get("token_embd.weight"),
    )
    if tokens is None or rows is None or tokens == rows.shape[-1]:
        return
    rule = f"must have a tokenizer of its {rows.shape[-1]} tokens"
    raise _Broken(rule, f"{tokens}: it belongs to other weights")
