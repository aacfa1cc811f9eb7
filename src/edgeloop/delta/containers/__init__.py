"""Find the tensors of a model file, whatever container it is.

A container that is not known, or a broken one, has none: then all of the file is bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from math import prod

from edgeloop.delta.containers import gguf, litert, onnx, safetensors
from edgeloop.delta.containers.foreign import MOST_AXES, BrokenError
from edgeloop.delta.layout import PIECES, Scales, Span

READERS = (gguf.spans, litert.spans, safetensors.spans, onnx.spans)  # ONNX has no magic: it is last
MOST_IN_A_BYTE = 8  # numbers; no form has more


def find(data: memoryview) -> list[Span]:
    """The tensors that ``data``, a whole file, holds, sorted by place; none overlaps another.

    Each is as long as its form and shape say, and not empty. Scales are the bytes of one of the
    tensors, which has no scales itself, or lie between them; and so do zero points.
    """
    for read in READERS:
        with suppress(BrokenError):
            return _sound(read(data), len(data))
    return []


def _sound(told: Iterable[Span], size: int) -> list[Span]:
    """Those of the tensors that are as promised."""
    found: list[Span] = []
    end = 0
    for one in sorted((one for one in told if _fits(one, size)), key=lambda one: one.offset):
        if one.offset >= end:
            found.append(one)
            end = one.offset + one.size
    room = _Room(found, size)
    return [replace(one, scales=room.kept(one)) for one in found]


class _Room:
    """Where scales may lie, so that a tensor can be told once its scales are."""

    def __init__(self, spans: list[Span], size: int) -> None:
        self._spans, self._size = spans, size
        self._starts = [one.offset for one in spans]

    def kept(self, span: Span) -> Scales | None:
        """The scales of a tensor, if there is room for them."""
        scales = span.scales
        if scales is None or scales.count != _lines(span, scales.axis):
            return None
        width = PIECES[span.form][1]
        if scales.zeros is not None and not self._free(scales.zeros, scales.count * width):
            return None
        return scales if self._free(scales.offset, scales.count * 4) else None

    def _free(self, first: int, count: int) -> bool:
        if first < 0 or first + count > self._size:
            return False
        last = bisect_right(self._starts, first + count - 1) - 1
        if last < 0 or self._starts[last] + self._spans[last].size <= first:
            return True
        touched = self._spans[last]
        return (touched.offset, touched.size, touched.scales) == (first, count, None)


def _fits(span: Span, size: int) -> bool:
    """Whether a tensor lies within ``size`` bytes and is as long as its numbers."""
    if len(span.shape) > MOST_AXES or not all(
        0 < one <= MOST_IN_A_BYTE * size for one in span.shape
    ):
        return False
    numbers, piece = PIECES[span.form]
    row = span.shape[-1] if span.shape else 1
    if row % numbers or span.size != prod(span.shape) // numbers * piece:
        return False
    return span.offset >= 0 and span.offset + span.size <= size


def _lines(span: Span, axis: int | None) -> int:
    """How many scales there must be."""
    if axis is None:
        return 1
    return span.shape[axis] if 0 <= axis < len(span.shape) else -1
