"""Entropy coding: interleaved range variant of asymmetric numeral systems (rANS), in numpy.

Duda, "Asymmetric numeral systems" (arXiv:1311.2540); many states side by side as in Giesen,
"Interleaved entropy coders" (arXiv:1402.3392). States are 32 bits wide and are filled by words of
16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.errors import DeltaError

if TYPE_CHECKING:
    from edgeloop.delta.sections import Window
    from edgeloop.types import Array

PRECISION = 12  # bits of a frequency
TOTAL = 1 << PRECISION
SLOT = np.uint32(TOTAL - 1)
LOWEST = 1 << 16  # of a state between two symbols
MOST_LANES = 4096


@dataclass(frozen=True, kw_only=True)
class Coded:
    """What one call of :func:`encode` is given: one row per symbol, in the decoder's order."""

    starts: Array  # int64[n], below TOTAL
    widths: Array  # int64[n], 1 to TOTAL


def encode(parts: list[Coded], lanes: int) -> bytes:
    """The words of all ``parts``, the states first. ``lanes`` states take symbols in turn."""
    states = np.full(lanes, LOWEST, dtype=np.int64)
    words: list[Array] = []
    for part in reversed(parts):
        last = len(part.widths) - 1
        for first in range(last - last % lanes, -1, -lanes):
            start, width = part.starts[first : first + lanes], part.widths[first : first + lanes]
            now = states[: len(width)]
            full = now >= width << (32 - PRECISION)
            words.append((now[full] & 0xFFFF)[::-1])
            now = np.where(full, now >> 16, now)
            whole, rest = np.divmod(now, width)
            states[: len(width)] = (whole << PRECISION) + start + rest
    body = np.concatenate(words)[::-1] if words else np.empty(0, dtype=np.int64)
    return states.astype("<u4").tobytes() + body.astype("<u2").tobytes()


@dataclass
class Decoder:
    """Reads what :func:`encode` wrote. ``states`` and the words' place are all it remembers."""

    words: Window
    states: Array  # uint32[lanes]

    def decode(self, tables: Tables, rows: Array) -> Array:
        """``uint16[n]`` symbols; ``rows[i]`` says which of the tables symbol ``i`` is coded by.

        Raises:
            DeltaError: the words end too early.
        """
        lanes, offsets = len(self.states), rows.astype(np.uint32) << PRECISION
        symbols = np.empty(len(rows), dtype=np.uint16)
        ahead, taken = self._ahead(len(rows)), 0
        for first in range(0, len(rows), lanes):
            offset = offsets[first : first + lanes]
            now = self.states[: len(offset)]
            at = offset + (now & SLOT)
            symbols[first : first + lanes] = tables.symbols[at]
            both = tables.widths_and_places[at]
            now >>= PRECISION
            now *= both >> 16
            now += both & 0xFFFF
            low = np.flatnonzero(now < LOWEST)
            words = ahead[taken : taken + len(low)]
            if len(words) < len(low):
                raise _broken("must hold as many words as its symbols take")
            now[low] = (now[low] << 16) | words
            taken += len(low)
        self.words.take(2 * taken)
        return symbols

    def _ahead(self, count: int) -> Array:
        """The next words, one for each symbol at most: states take them in their order."""
        data = self.words.peek(2 * count)
        return np.frombuffer(data, dtype="<u2", count=len(data) // 2)

    def finish(self) -> None:
        """Check that everything was read, to the last bit.

        Raises:
            DeltaError: words are left, or a state is not the one that encoding began with.
        """
        if self.words.left or bool(np.any(self.states != LOWEST)):
            raise _broken("must end where its symbols end")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What each slot of each row of frequencies says; row ``r`` begins at ``r << PRECISION``.

    ``widths_and_places`` has the symbol's frequency in its upper half, and in its lower half how
    far the slot is from the symbol's first.
    """

    symbols: Array  # uint16
    widths_and_places: Array  # uint32

    @classmethod
    def of(cls, widths: Array) -> Tables:
        """``widths`` is ``int64[rows, symbols]``, and each row adds up to TOTAL."""
        rows, count = widths.shape
        flat = widths.ravel()
        starts = (np.cumsum(widths, axis=1) - widths).ravel()
        filled = np.repeat(((flat << 16) - starts).astype(np.uint32), flat)  # modulo 2**32
        filled.reshape(rows, TOTAL)[:] += np.arange(TOTAL, dtype=np.uint32)  # where it is: many
        return cls(
            symbols=np.repeat(np.tile(np.arange(count, dtype=np.uint16), rows), flat),
            widths_and_places=filled,
        )


def open_words(words: Window, lanes: int) -> Decoder:
    """The decoder of what :func:`encode` gave.

    Raises:
        DeltaError: too short for its states, or a state is too small.
    """
    data = words.take(4 * lanes)
    if len(data) < 4 * lanes:
        raise DeltaError("delta", f"must hold {lanes} states", got=len(data))
    states = np.frombuffer(data, dtype="<u4").astype(np.uint32)
    if bool(np.any(states < LOWEST)):
        raise DeltaError("delta", f"must have states of {LOWEST} or more", got=int(states.min()))
    return Decoder(words=words, states=states)


def _broken(rule: str) -> DeltaError:
    return DeltaError("delta", rule, todo="Fetch it again")
