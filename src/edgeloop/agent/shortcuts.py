"""Files of a bundle made from those that this device has, where a signed delta is shorter.

Nothing depends on it: whatever goes wrong, the files are fetched whole.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.agent.sources import Unfound
from edgeloop.errors import DeltaError, DigestError, DiskFullError, ProtocolError
from edgeloop.protocol.messages import Delta
from edgeloop.types import Layer

if TYPE_CHECKING:
    from edgeloop.agent.blobs import Blobs
    from edgeloop.delta.header import File

logger = logging.getLogger(__name__)

# what the whole files may help against; of the network, only that a blob is nowhere
REFUSED = (
    *(DeltaError, DigestError, DiskFullError, ProtocolError, Unfound),
    *(ImportError, OSError),
)


def cheapest(deltas: Sequence[Delta], have: Collection[str], to: str) -> tuple[Delta, ...]:
    """The deltas that lead from a bundle that is there ``to`` another with the fewest bytes.

    None where no way leads there. Several in a row are applied in their order.
    """
    ways: list[tuple[int, str, tuple[Delta, ...]]] = [(0, one, ()) for one in sorted(have)]
    heapq.heapify(ways)
    seen: set[str] = set()
    while ways:
        cost, at, way = heapq.heappop(ways)
        if at == to:
            return way
        if at in seen:
            continue
        seen.add(at)
        for one in deltas:
            if one.base == at and one.to not in seen:
                heapq.heappush(ways, (cost + one.size, one.to, (*way, one)))
    return ()


def take(blobs: Blobs, way: Sequence[Delta], layers: Sequence[Layer]) -> None:
    """Make what is missing of ``layers`` along a ``way``, if that takes fewer bytes than they do.

    Raises:
        UnreachableError: the network failed; what came of a delta is kept.
    """
    whole = blobs.missing(layers)
    needed = blobs.missing([_layer(one) for one in way])
    if not way or not whole or needed >= whole:
        return
    try:
        for one in way:
            _apply(blobs, one)
    except REFUSED as fault:
        logger.warning("delta.refused reason=%s; the whole files are fetched", fault)
    else:
        logger.info("delta.done steps=%d bytes=%d of=%d", len(way), needed, whole)


def _apply(blobs: Blobs, delta: Delta) -> None:
    from edgeloop.delta.apply import apply, read_header

    source = blobs.get(_layer(delta))
    told = read_header(source)
    blobs.check_space(sum(one.size for one in told.new))
    old = [_found(blobs, one) for one in told.old]
    with blobs.making([one.sha256.hex() for one in told.new]) as new:
        apply(old, source, new)


def _found(blobs: Blobs, file: File) -> Path:
    """The blob that a delta's header means; which one it is, is checked when it is read."""
    for path in blobs.beginning(file.sha256.hex()):
        if path.stat().st_size == file.size:
            return path
    raise DeltaError(
        "device", "must have the files that the delta begins with",
        got=f"none of {file.size} bytes with SHA-256 {file.sha256.hex()}...",
    )  # fmt: skip


def _layer(delta: Delta) -> Layer:
    return Layer(name="delta", digest=delta.digest, size=delta.size)
