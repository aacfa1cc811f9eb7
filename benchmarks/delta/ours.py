"""The codec itself, as the table takes it: a delta, the way back, and what its tables say."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgeloop.delta.apply import apply
from edgeloop.delta.create import create_bytes


@dataclass(frozen=True, kw_only=True)
class Ours:
    """A delta that gave the new file back, bit for bit.

    ``coded`` bytes hold the tensors' numbers, which take ``bits`` by the tables that they were
    coded with; what is left of ``data`` is header, plan, and what is no tensor.
    """

    data: bytes
    bits: float
    coded: int


def delta(old: bytes, new: bytes) -> Ours:
    """Make it, apply it, compare; the inputs are as they were.

    Raises:
        ValueError: another file came back, or an input was changed.
    """
    before = _digests(old, new)
    made = create_bytes([old], [new])
    if back(old, made.data) != new or _digests(old, new) != before:
        raise ValueError(f"the delta of {len(new)} bytes must give them back")
    return Ours(data=made.data, bits=made.bits, coded=made.coded)


def back(old: bytes, made: bytes) -> bytes:
    """The new file."""
    with tempfile.TemporaryDirectory() as folder:
        was, told, new = (Path(folder) / name for name in ("old", "delta", "new"))
        was.write_bytes(old)
        told.write_bytes(made)
        apply([was], told, [new])
        return new.read_bytes()


def _digests(*files: bytes) -> list[bytes]:
    return [hashlib.sha256(one).digest() for one in files]
