"""What a delta is made of: files, tensors, and what each part of it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgeloop.delta import plan
from edgeloop.delta.apply import read_header
from edgeloop.delta.header import Header
from edgeloop.delta.sections import Fetch, Stream
from edgeloop.delta.varints import Unpacker


@dataclass(frozen=True, kw_only=True)
class Info:
    """A delta's size, its header, and how many tensors of each format its plan has."""

    size: int
    header: Header
    tensors: Mapping[str, int]

    @property
    def sections(self) -> dict[str, int]:
        """Bytes of each part, the header first."""
        found = {name: section.size for name, section in self.header.sections.items()}
        return {"header": self.size - sum(found.values()), **found}

    @property
    def share(self) -> float | None:
        """Of the new files' bytes; None when they have none."""
        made = sum(file.size for file in self.header.new)
        return self.size / made if made else None


def info(delta: Path) -> Info:
    """Read header and plan. A tensor that is told in several entries counts as so many.

    Raises:
        DeltaError: it is no delta, of a later version, broken, or cut short.
        OSError: it cannot be read.
    """
    told = read_header(delta)
    tensors: Counter[str] = Counter()
    section = told.sections["plan"]
    if section.size:
        with delta.open("rb") as file:
            entries = plan.read(Unpacker(Stream(_fetch(file), section).take))
            tensors.update(entry.grid.format.name for entry in entries)
    return Info(size=delta.stat().st_size, header=told, tensors=dict(tensors.most_common()))


def _fetch(file: BinaryIO) -> Fetch:
    def fetch(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return fetch
