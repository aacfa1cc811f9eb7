"""Write symbols and read them back by the same calls, so that both learn the same.

A :size:`Writer` is given numbers and gives them back; a :size:`Reader` finds them in the bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgeloop.delta import magnitudes, plain_bits, rans
from edgeloop.delta.families import FAMILIES, Counts, Family

if TYPE_CHECKING:
    from edgeloop.types import Array

ESCAPED = 12  # plain bits of a symbol that its table has no width for


class Coder(Protocol):
    """One side of the wire. ``given`` is what a writer is to write; a reader ignores it."""

    def symbols(self, family: Family, contexts: Array, given: Array | None) -> Array:
        """A symbol of ``family`` for each of ``contexts`` (``int64``, any shape)."""

    def bits(self, lengths: Array, given: Array | None) -> Array:
        """A number of so many plain bits for each of ``lengths``."""


class Writer:
    """Collects what a reader will read. ``cost`` is in bits, as the tables say it."""

    def __init__(self, counts: dict[Family, Counts] | None = None) -> None:
        self._counts = counts or {family: Counts(family) for family in FAMILIES}
        self._parts: list[rans.Coded] = []
        self._plain: list[tuple[Array, Array]] = []
        self.cost = 0.0

    def symbols(self, family: Family, contexts: Array, given: Array | None) -> Array:
        """Write symbols."""
        counts, flat, told = self._counts[family], contexts.ravel(), _known(given).ravel()
        place = 0
        while place < len(told):
            part = slice(place, place + counts.block)
            self._block(counts, flat[part], told[part])
            place = part.stop
        return _known(given)

    def _block(self, counts: Counts, contexts: Array, symbols: Array) -> None:
        used, rows = counts.used(contexts)
        widths = counts.widths(used)
        starts = np.cumsum(widths, axis=1) - widths
        known = np.minimum(symbols, counts.family.escape)
        written = np.where(widths[rows, known] > 0, known, counts.family.escape)
        part = rans.Coded(starts=starts[rows, written], widths=widths[rows, written])
        self._parts.append(part)
        self.cost += float(np.sum(rans.PRECISION - np.log2(part.widths)))
        escaped = symbols[written == counts.family.escape]
        self.bits(np.full(len(escaped), ESCAPED), escaped)
        counts.saw(contexts, known)

    def bits(self, lengths: Array, given: Array | None) -> Array:
        """Write plain bits."""
        self._plain.append((_known(given).ravel(), lengths.ravel()))
        self.cost += float(lengths.sum())
        return _known(given)

    @property
    def length(self) -> int:
        """How many symbols were written, but for plain bits."""
        return sum(len(part.widths) for part in self._parts)

    def trial(self) -> Writer:
        """A writer that has learned what this one has, to see what something would cost."""
        return Writer(copy.deepcopy(self._counts))

    def finish(self, lanes: int) -> tuple[bytes, bytes]:
        """The words, and the plain bits."""
        numbers = [numbers for numbers, _ in self._plain] or [np.empty(0, dtype=np.int64)]
        lengths = [lengths for _, lengths in self._plain] or [np.empty(0, dtype=np.int64)]
        plain = plain_bits.pack(np.concatenate(numbers), np.concatenate(lengths))
        return rans.encode(self._parts, lanes), plain


class Reader:
    """Reads what a :size:`Writer` wrote."""

    def __init__(self, words: rans.Decoder, plain: plain_bits.BitReader) -> None:
        self._counts = {family: Counts(family) for family in FAMILIES}
        self._words, self._plain = words, plain

    def symbols(self, family: Family, contexts: Array, given: Array | None = None) -> Array:  # noqa: ARG002  (a writer's)
        """Read symbols."""
        counts, flat = self._counts[family], contexts.ravel()
        found = np.empty(len(flat), dtype=np.int64)
        place = 0
        while place < len(flat):
            part = slice(place, place + counts.block)
            found[part] = self._block(counts, flat[part])
            place = part.stop
        return found.reshape(contexts.shape)

    def _block(self, counts: Counts, contexts: Array) -> Array:
        used, rows = counts.used(contexts)
        tables = rans.Tables.of(counts.widths(used))
        symbols = self._words.decode(tables, rows).astype(np.int64)
        escaped = np.flatnonzero(symbols == counts.family.escape)
        symbols[escaped] = self._plain.read(np.full(len(escaped), ESCAPED))
        counts.saw(contexts, np.minimum(symbols, counts.family.escape))
        return symbols

    def bits(self, lengths: Array, given: Array | None = None) -> Array:  # noqa: ARG002  (a writer's)
        """Read plain bits."""
        return self._plain.read(lengths.ravel()).reshape(lengths.shape)

    def learned(self) -> dict[str, Array]:
        """All that it remembers, to go on from here at another time."""
        told = {f"counts{at}": counts.table for at, counts in enumerate(self._counts.values())}
        seen = [counts.seen for counts in self._counts.values()]
        places = [self._words.words.place, self._plain.data.place, self._plain.used, *seen]
        return {**told, "states": self._words.states, "places": np.array(places)}

    def go_on(self, learned: Mapping[str, Array]) -> None:
        """Go on from where :meth:`learned` was asked."""
        words, plain, used, *seen = (int(place) for place in learned["places"])
        self._words.words.place, self._plain.data.place, self._plain.used = words, plain, used
        self._words.states = learned["states"].astype(np.uint32)
        for at, (counts, one) in enumerate(zip(self._counts.values(), seen, strict=True)):
            counts.table, counts.seen = learned[f"counts{at}"].astype(np.int64), one

    def finish(self) -> None:
        """Check that all of it was read."""
        self._words.finish()
        self._plain.finish()


def _known(given: Array | None) -> Array:
    if given is None:
        raise ValueError("a writer must be given what it is to write")
    return given


def signed(coder: Coder, family: Family, contexts: Array, given: Array | None) -> Array:
    """Whole numbers of either sign in the shape of ``contexts``, the sign within the symbol."""
    symbols = plain = None
    if given is not None:
        buckets, _, plain = magnitudes.split(np.abs(given))
        symbols = magnitudes.zigzag(np.where(given < 0, -buckets, buckets))
    symbols = magnitudes.unzigzag(coder.symbols(family, contexts, symbols))
    found = _joined(coder, np.abs(symbols), plain)
    return np.where(symbols < 0, -found, found)


def unsigned(coder: Coder, family: Family, contexts: Array, given: Array | None) -> Array:
    """Whole numbers of either sign in the shape of ``contexts``, the sign a plain bit."""
    buckets = plain = negative = None
    if given is not None:
        buckets, _, plain = magnitudes.split(np.abs(given))
        negative = (given < 0).astype(np.int64)
    buckets = coder.symbols(family, contexts, buckets)
    found = _joined(coder, buckets, plain)
    negative = coder.bits((buckets > 0).astype(np.int64), negative)
    return np.where(negative > 0, -found, found)


def _joined(coder: Coder, buckets: Array, plain: Array | None) -> Array:
    """Magnitudes of their buckets, and of the plain bits of those that have any."""
    found = buckets.copy()
    large = np.nonzero(buckets >= magnitudes.EXACT)
    lengths = magnitudes.lengths(buckets[large])
    bits = coder.bits(lengths, None if plain is None else plain[large])
    found[large] = magnitudes.join(buckets[large], bits)
    return found
