"""The parts of a delta file: packed streams, and words and bits of the tensors' coder.

A packed stream is raw, bz2, or LZMA2 without a container of its own.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from dataclasses import dataclass

from edgeloop.errors import DeltaError

RAW, BZ2, LZMA = range(3)
SMALLEST_WINDOW, LARGEST_WINDOW = 12, 22  # LZMA's dictionary, as a power of 2: three are held
SETTINGS = ((3, 0, 2), (0, 2, 0), (1, 1, 1), (4, 0, 0))  # LZMA's lc, lp, pb: by their index
SAMPLED = 1 << 18  # bytes of a large stream, by which LZMA's settings are chosen
BUFFER = 1 << 16
Fetch = Callable[[int, int], bytes]  # offset and length -> the bytes, which are there


@dataclass(frozen=True, kw_only=True)
class Section:
    """Where a packed stream lies in the delta, and how it was packed."""

    offset: int
    size: int
    method: int = RAW
    setting: int = 0
    window: int = SMALLEST_WINDOW


def pack(data: bytes) -> tuple[bytes, Section]:
    """The shortest form, and how it is to be unpacked."""
    found = [(data, Section(offset=0, size=len(data)))]
    packed = bz2.compress(data, 9)
    found.append((packed, Section(offset=0, size=len(packed), method=BZ2)))
    sample = data if len(data) <= SAMPLED else data[len(data) // 2 :][:SAMPLED]
    trials = [_lzma(sample, setting) for setting in range(len(SETTINGS))]
    packed, how = min(trials, key=lambda one: one[1].size)
    found.append((packed, how) if sample is data else _lzma(data, how.setting))
    return min(found, key=lambda one: len(one[0]))


def _lzma(data: bytes, setting: int) -> tuple[bytes, Section]:
    window = min(max(SMALLEST_WINDOW, (len(data) - 1).bit_length()), LARGEST_WINDOW)
    filters = _filters(setting, window, preset=9)
    packed = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
    return packed, Section(offset=0, size=len(packed), method=LZMA, setting=setting, window=window)


def _filters(setting: int, window: int, preset: int | None = None) -> list[dict[str, int]]:
    lc, lp, pb = SETTINGS[setting]
    own = {"id": lzma.FILTER_LZMA2, "dict_size": 1 << window, "lc": lc, "lp": lp, "pb": pb}
    return [own if preset is None else {**own, "preset": preset | lzma.PRESET_EXTREME}]


class Window:
    """Reads a section from its beginning, or from a place within, some bytes at a time."""

    def __init__(self, fetch: Fetch, section: Section, place: int = 0) -> None:
        self._fetch, self._section = fetch, section
        self._held, self._held_from, self.place = b"", place, place

    @classmethod
    def over(cls, data: bytes) -> Window:
        """Of bytes that are in memory."""
        return cls(lambda at, count: data[at : at + count], Section(offset=0, size=len(data)))

    @property
    def left(self) -> int:
        """Bytes that were not taken."""
        return self._section.size - self.place

    def peek(self, count: int) -> bytes:
        """Up to so many bytes, fewer at the end; they stay."""
        count = min(count, self.left)
        first = self.place - self._held_from
        if not 0 <= first <= first + count <= len(self._held):
            length = min(max(count, BUFFER), self.left)
            self._held = self._fetch(self._section.offset + self.place, length)
            self._held_from, first = self.place, 0
        return self._held[first : first + count]

    def take(self, count: int) -> bytes:
        """Up to so many bytes, fewer at the end."""
        found = self.peek(count)
        self.place += len(found)
        return found


class Stream:
    """Reads what was packed, in order."""

    def __init__(self, fetch: Fetch, section: Section) -> None:
        self._packed = Window(fetch, section)
        self._unpacking = _unpacking(section)

    def take(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            DeltaError: there are fewer, or they cannot be unpacked.
        """
        parts: list[bytes] = []
        while count:
            part = self._some(count)
            if not part:
                raise DeltaError("delta", "must hold as many bytes as its plan takes")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def finish(self) -> None:
        """Check that everything was read.

        Raises:
            DeltaError: something is left.
        """
        if self._some(1) or self._packed.left or (self._unpacking and self._unpacking.unused_data):
            raise DeltaError("delta", "must end where its plan ends")

    def _some(self, most: int) -> bytes:
        """Up to ``most`` bytes, none at the end."""
        if self._unpacking is None:
            return self._packed.take(min(most, BUFFER))
        try:
            while not self._unpacking.eof:
                more = self._packed.take(BUFFER) if self._unpacking.needs_input else b""
                if found := self._unpacking.decompress(more, min(most, BUFFER)):
                    return found
                if self._unpacking.needs_input and not self._packed.left:
                    break
        except (OSError, lzma.LZMAError) as fault:
            raise DeltaError("delta", "must be packed as it says", got=str(fault)) from fault
        return b""


def _unpacking(section: Section) -> bz2.BZ2Decompressor | lzma.LZMADecompressor | None:
    if section.method == BZ2 and section.size:
        return bz2.BZ2Decompressor()
    if section.method == LZMA and section.size:
        filters = _filters(section.setting, section.window)
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    return None
