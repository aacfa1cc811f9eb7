"""Find the tensors of a GGUF file: counts, entries, tensor by tensor its place, then the blocks.

The form: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Scales lie within the blocks.
"""

from __future__ import annotations

import struct
from math import prod

from edgeloop.delta.containers.foreign import MOST_AXES, BrokenError, Foreign
from edgeloop.delta.layout import PIECES, Span

MAGIC, VERSIONS, START = b"GGUF", (2, 3), 24  # bytes of magic, version and counts
ALIGNMENT = b"general.alignment"
LARGEST_ALIGNMENT = 1 << 20
WORD, TEXT, ARRAY = 4, 8, 9  # kinds of an entry's value; an unsigned number of 32 bits is a word
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, WORD: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of the others
TYPES = {  # ggml's number of a tensor type
    0: "float32", 1: "float16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 9: "q8_1",
    10: "q2_k", 11: "q3_k", 12: "q4_k", 13: "q5_k", 14: "q6_k", 15: "q8_k", 16: "iq2_xxs",
    17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20: "iq4_nl", 21: "iq3_s", 22: "iq2_s", 23: "iq4_xs",
    24: "int8", 26: "int32", 27: "int64", 29: "iq1_m", 30: "bfloat16", 34: "tq1_0", 35: "tq2_0",
    39: "mxfp4", 40: "nvfp4", 41: "q1_0",
}  # fmt: skip


def spans(data: memoryview) -> list[Span]:
    """The tensors of known types.

    Raises:
        BrokenError: it is no such file.
    """
    cursor = _Cursor(Foreign(data))
    if cursor.take(4) != MAGIC or cursor.number("I") not in VERSIONS:
        raise BrokenError
    tensors, entries = cursor.number("Q"), cursor.number("Q")
    alignment = 32
    for _ in range(entries):
        alignment = cursor.entry() or alignment
    told = [cursor.tensor() for _ in range(tensors)]
    start = -(-cursor.place // alignment) * alignment
    found = (_span(*one, start) for one in told)
    return [one for one in found if one is not None]


class _Cursor:
    """Takes what lies one behind the other."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign, self.place = foreign, 0

    def take(self, count: int) -> bytes:
        """``count`` bytes."""
        return self._foreign.take(self._skip(count), count)

    def number(self, form: str) -> int:
        """A whole number of ``struct``'s form."""
        return self._foreign.number(form, self._skip(struct.calcsize(form)))

    def entry(self) -> int:
        """What an entry says of the alignment; 0 when it is about something else."""
        name, kind = self.take(self.number("Q")), self.number("I")
        if name != ALIGNMENT or kind != WORD:
            self._skip_value(kind)
            return 0
        alignment = self.number("I")
        if not 0 < alignment <= LARGEST_ALIGNMENT:
            raise BrokenError
        return alignment

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape with the slowest axis first, type, and place behind the first tensor's."""
        name, axes = self.take(self.number("Q")), self.number("I")
        if axes > MOST_AXES:
            raise BrokenError
        shape = tuple(self.number("Q") for _ in range(axes))
        kind, offset = self.number("I"), self.number("Q")
        return name.decode(errors="replace"), shape[::-1], kind, offset

    def _skip(self, count: int) -> int:
        """The place before ``count`` bytes, which are there."""
        self._foreign.check(self.place, count)
        before, self.place = self.place, self.place + count
        return before

    def _skip_value(self, kind: int) -> None:
        if kind == TEXT:
            self._skip(self.number("Q"))
        elif kind == ARRAY:
            self._skip_array(self.number("I"), self.number("Q"))
        else:
            self._skip(_size(kind))

    def _skip_array(self, kind: int, count: int) -> None:
        if kind != TEXT:
            self._skip(_size(kind) * count)
            return
        for _ in range(count):
            self._skip(self.number("Q"))


def _size(kind: int) -> int:
    """Bytes of one value; an array within an array has none."""
    if kind not in SIZES:
        raise BrokenError
    return SIZES[kind]


def _span(name: str, shape: tuple[int, ...], kind: int, offset: int, start: int) -> Span | None:
    form = TYPES.get(kind)
    if form is None:
        return None
    numbers, size = PIECES[form]
    whole = prod(shape) // numbers * size
    return Span(name=name, offset=start + offset, size=whole, form=form, shape=shape)
