"""Which tensor of the old file each one of the new file is told from.

Names come first, but exporters number them anew: ``onnx::MatMul_123`` may be another layer's in the
next export. So a name counts where the numbers bear it out, and else what is most alike.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from edgeloop.delta.layout import Span
    from edgeloop.types import Array

MOST_SAMPLED = 4096  # numbers of a tensor
MOST_WORK = 1 << 32  # products of numbers, for all tensors of one kind
MOST_HELD = 1 << 23  # numbers, likewise
AT_ONCE = 256  # new tensors
SURE = 0.9  # correlation at which a name needs no more witnesses
ALIKE = 0.2  # the least at which an old tensor foretells anything
DEVIATIONS = 6  # of chance; what is less than so many is nothing
DTYPES = {  # how the bytes of a form are compared; block forms are nibbles, mostly
    "float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int8": "i1", "int32": "<i4",
    "int64": "<i8", "q8_0": "i1", "q8_1": "i1", "q8_k": "i1",
}  # fmt: skip
SPREAD = 2_654_435_769  # 2**32 by the golden ratio: its multiples lie evenly in 32 bits

Kind: TypeAlias = tuple[tuple[int, ...], str]


def pairs(
    old: Sequence[Span], old_data: memoryview, new: Sequence[Span], new_data: memoryview
) -> list[tuple[Span, Span | None]]:
    """Each of ``new``, in its order, with the one of ``old`` that it is told from, or None.

    Both have the same shape and form. Several may be told from the same one.
    """
    kinds = _by_kind(old)
    found: dict[int, Span | None] = {}
    for kind, wanted in _by_kind(new).items():
        group = _Group(kinds.get(kind, []), old_data, new_data)
        told = group.partners(wanted)
        found |= {one.offset: partner for one, partner in zip(wanted, told, strict=True)}
    return [(one, found[one.offset]) for one in new]


def _by_kind(spans: Sequence[Span]) -> dict[Kind, list[Span]]:
    found: dict[Kind, list[Span]] = defaultdict(list)
    for one in spans:
        found[one.shape, one.form].append(one)
    return found


class _Group:
    """The old tensors of one shape and form."""

    def __init__(self, old: list[Span], old_data: memoryview, new_data: memoryview) -> None:
        self._old, self._old_data, self._new_data = old, old_data, new_data

    def partners(self, new: list[Span]) -> list[Span | None]:
        """One for each of ``new``."""
        named = list(self._named(new))
        found = [
            partner if partner and self._borne_out(one, partner) else None
            for one, partner in zip(new, named, strict=True)
        ]
        left = [place for place, partner in enumerate(found) if partner is None]
        if left and self._old:
            others = self._alike([new[place] for place in left])
            for place, other in zip(left, others, strict=True):
                found[place] = other or named[place]
        return found

    def _named(self, new: list[Span]) -> Iterator[Span | None]:
        """The old ones of the same names; of several with one name, each once, in order."""
        waiting: dict[str, list[Span]] = defaultdict(list)
        for one in reversed(self._old):
            waiting[one.name].append(one)
        for one in new:
            same = waiting.get(one.name)
            yield same.pop() if same else None

    def _borne_out(self, new: Span, old: Span) -> bool:
        """Whether the numbers say what the names say."""
        ours = _sample([new], self._new_data, MOST_SAMPLED)
        theirs = _sample([old], self._old_data, MOST_SAMPLED)
        if float((ours * theirs).sum()) >= SURE:
            return True
        return _digest(new, self._new_data) == _digest(old, self._old_data)  # all alike, maybe

    def _alike(self, new: list[Span]) -> Iterator[Span | None]:
        """The equal one, or the one with the most similar numbers, or None."""
        equal = {_digest(one, self._old_data): one for one in reversed(self._old)}
        work, held = MOST_WORK // (len(new) * len(self._old)), MOST_HELD // len(self._old)
        most = max(1, min(MOST_SAMPLED, work, held))
        before = _sample(self._old, self._old_data, most)
        for first in range(0, len(new), AT_ONCE):
            some = new[first : first + AT_ONCE]
            alike = _sample(some, self._new_data, most) @ before.T  # [some, old]
            for one, best, row in zip(some, alike.argmax(axis=1), alike, strict=True):
                likely = self._old[best] if row[best] >= _least(before.shape[1]) else None
                yield equal.get(_digest(one, self._new_data), likely)


def _least(sampled: int) -> float:
    """The correlation that so many numbers do not have by chance; over 1 when they are too few."""
    return max(ALIKE, DEVIATIONS / math.sqrt(max(sampled, 1)))


def _digest(span: Span, data: memoryview) -> bytes:
    return hashlib.sha256(data[span.offset : span.offset + span.size]).digest()


def _sample(spans: Sequence[Span], data: memoryview, most: int) -> Array:
    """``float64[spans, numbers]``, the same places of each, of mean 0 and length 1."""
    return np.stack([_normal(_numbers(one, data, most)) for one in spans])


def _numbers(span: Span, data: memoryview, most: int) -> Array:
    """Up to ``most`` numbers that lie evenly, but in no step that could be a row's."""
    dtype = np.dtype(DTYPES.get(span.form, "u1"))
    whole = np.frombuffer(data, dtype, span.size // dtype.itemsize, span.offset)
    if len(whole) > most:
        parts = np.arange(most, dtype=np.uint64) * SPREAD % (1 << 32)
        whole = whole[(parts * len(whole)) >> np.uint64(32)]
    if span.form == "bfloat16":
        whole = (whole.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):  # signalling ones that are no numbers
        return whole.astype(np.float64)


def _normal(numbers: Array) -> Array:
    """Mean 0 and length 1; all 0 where the numbers do not differ."""
    kept = np.where(np.abs(numbers) < 1e30, numbers, 0.0)  # NaN is not kept either
    kept = kept - kept.mean()
    length = float(np.sqrt((kept * kept).sum()))
    return kept / length if length > 0 else np.zeros_like(kept)
