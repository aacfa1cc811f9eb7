"""The beginning of a delta file: which files it is between, and where its sections lie.

    4 bytes   "ELD" and the version, 1
    8 bytes   of the SHA-256 of everything behind them
    lanes of the coder; how many old files, for each its size and 8 bytes of its SHA-256;
    how many new files, for each its size and its SHA-256; for each section its size and, if that
    is not 0 and the section is a packed one, how it was packed

Numbers are those of varints.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeloop.delta.rans import MOST_LANES
from edgeloop.delta.sections import (
    LARGEST_WINDOW,
    LZMA,
    SETTINGS,
    SMALLEST_WINDOW,
    Fetch,
    Section,
    Window,
)
from edgeloop.delta.varints import Packer, Unpacker
from edgeloop.errors import DeltaError

MAGIC = b"ELD\x01"
CHECKED = 8  # bytes of the digest of what follows
KNOWN = 8  # bytes of an old file's digest: they tell files apart, they prove nothing
DIGEST = 32
MOST_FILES = 1 << 12
MOST_BYTES = 1 << 48  # of a file; those of all are less than 2**63
PACKED = ("plan", "edits", "literals", "differences")
CODED = ("words", "bits")


@dataclass(frozen=True, kw_only=True)
class File:
    """``sha256`` is whole for a new file; of an old one it is the beginning."""

    size: int
    sha256: bytes


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a delta says of itself; ``check`` tells deltas apart."""

    check: bytes
    lanes: int
    old: tuple[File, ...]
    new: tuple[File, ...]
    sections: dict[str, Section]


def written(
    lanes: int, old: Sequence[File], new: Sequence[File], sections: Sequence[tuple[bytes, Section]]
) -> bytes:
    """A whole delta file; ``sections`` are in the order of PACKED and CODED."""
    packer = Packer()
    packer.number(lanes)
    for files in (old, new):
        packer.number(len(files))
        for file in files:
            packer.number(file.size)
            packer.data += file.sha256
    for name, (data, section) in zip((*PACKED, *CODED), sections, strict=True):
        packer.number(len(data))
        if data and name in PACKED:
            _write_method(packer, section)
    rest = bytes(packer.data) + b"".join(data for data, _ in sections)
    return MAGIC + hashlib.sha256(rest).digest()[:CHECKED] + rest


def read(fetch: Fetch, size: int) -> Header:
    """Of a delta of ``size`` bytes.

    Raises:
        DeltaError: it is no delta, of a later version, broken, or cut short.
    """
    window = Window(fetch, Section(offset=0, size=size))
    check = _check(window)
    unpacker = Unpacker(lambda count: _taken(window, count))
    lanes = unpacker.number(MOST_LANES)
    old = _files(unpacker, KNOWN)
    new = _files(unpacker, DIGEST)
    found = {name: _section(unpacker, packed=name in PACKED) for name in (*PACKED, *CODED)}
    if not new or (found["plan"].size and not lanes):
        raise DeltaError("delta", "must make a file, and have lanes for its tensors")
    place, sections = window.place, {}
    for name, section in found.items():
        sections[name] = replace(section, offset=place)
        place += section.size
    if place != size:
        raise DeltaError("delta", f"must be {place} bytes long", got=size)
    return Header(check=check, lanes=lanes, old=old, new=new, sections=sections)


def _check(window: Window) -> bytes:
    """The digest of it all, before anything of it is believed."""
    magic, told = window.take(len(MAGIC)), window.take(CHECKED)
    if len(told) < CHECKED and MAGIC.startswith(magic):
        raise _cut_short()
    if magic[:3] != MAGIC[:3]:
        raise DeltaError("delta", 'must begin with "ELD"', got=magic[:3].hex())
    if magic != MAGIC:
        raise DeltaError("delta", "must be of version 1", got=magic[3:].hex(), todo="Update")
    begin, digest = window.place, hashlib.sha256()
    while data := window.take(1 << 16):
        digest.update(data)
    if digest.digest()[:CHECKED] != told:
        raise DeltaError("delta", "must have the digest that it says", todo="Fetch it again")
    window.place = begin
    return told


def _taken(window: Window, count: int) -> bytes:
    data = window.take(count)
    if len(data) < count:
        raise _cut_short()
    return data


def _cut_short() -> DeltaError:
    return DeltaError("delta", "must not end within its header", todo="Fetch it again")


def _files(unpacker: Unpacker, digest: int) -> tuple[File, ...]:
    count = unpacker.number(MOST_FILES)
    return tuple(
        File(size=unpacker.number(MOST_BYTES), sha256=unpacker.take(digest)) for _ in range(count)
    )


def _write_method(packer: Packer, section: Section) -> None:
    packer.number(section.method)
    if section.method == LZMA:
        packer.number(section.setting)
        packer.number(section.window)


def _section(unpacker: Unpacker, *, packed: bool) -> Section:
    size = unpacker.number()
    if not size or not packed:
        return Section(offset=0, size=size)
    method = unpacker.number(LZMA)
    if method != LZMA:
        return Section(offset=0, size=size, method=method)
    setting, window = unpacker.number(len(SETTINGS) - 1), unpacker.number(LARGEST_WINDOW)
    if window < SMALLEST_WINDOW:
        raise DeltaError("delta", f"must have windows from {SMALLEST_WINDOW} on", got=window)
    return Section(offset=0, size=size, method=method, setting=setting, window=window)
