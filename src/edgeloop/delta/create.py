"""Make a delta between files, and see that it gives the new ones before it is given away.

made = create([Path("old.onnx")], [Path("new.onnx")], Path("update.delta"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop import durable
from edgeloop.delta import encode
from edgeloop.delta.apply import apply_bytes
from edgeloop.delta.encode import Made
from edgeloop.errors import DeltaError


def create(old: Sequence[Path], new: Sequence[Path], out: Path) -> Made:
    """Write the shortest delta that makes the ``new`` files of the ``old`` ones to ``out``.

    All files are held in memory.

    Raises:
        MissingExtraError: bsdiff4 is not installed.
        DeltaError: the delta does not give the new files: a fault of ours; nothing is written.
        DiskFullError: no room for it.
        OSError: a file cannot be read or written.
    """
    made = create_bytes([path.read_bytes() for path in old], [path.read_bytes() for path in new])
    durable.write(out, made.data)
    return made


def create_bytes(old: Sequence[bytes], new: Sequence[bytes]) -> Made:
    """As :func:`create`, all in memory."""
    made = encode.made(old, new)
    if apply_bytes(old, made.data, sum(map(len, new))) != list(new):
        raise DeltaError("delta", "must give the new files", todo="Tell us; send the whole files")
    return made
