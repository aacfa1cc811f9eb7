"""Deltas between bundles: made on publishing, kept as referrers of the bundle that they lead to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeloop.errors import StoreError
from edgeloop.protocol.messages import ChannelList, Delta
from edgeloop.release.bundle import layers_of
from edgeloop.store import referrers
from edgeloop.store.artifacts import Store
from edgeloop.store.manifest import digest_of
from edgeloop.store.referrers import Paper
from edgeloop.types import Layer

logger = logging.getLogger(__name__)

DELTA_TYPE = "application/vnd.edgeloop.delta.v1"
LARGEST = 64 << 20  # bytes of both sides' files: making a delta takes seconds a megabyte


def to_release(
    store: Store, bundle: str, listing: ChannelList, running: Sequence[str] | None, most: int
) -> tuple[Delta, ...]:
    """The deltas of a release that is about to be listed, and those that lead to where they begin.

    ``running`` are the bundles that devices run; None takes the newest that are listed. A release
    that is listed already keeps what it has.
    """
    known = listing.find(bundle)
    if known is not None:
        return known.deltas
    newest = [line.digest for line in reversed(listing.releases)]
    listed = newest if running is None else [one for one in newest if one in set(running)]
    return with_earlier(listing, make(store, bundle, listed[:most]))


def with_earlier(listing: ChannelList, deltas: Sequence[Delta]) -> tuple[Delta, ...]:
    """These, and those by which a device that is further behind comes to where they begin."""
    begin = {one.base for one in deltas}
    there = {one.to for one in deltas}
    earlier = {
        one.digest: one
        for line in listing.releases
        for one in line.deltas
        if one.to in begin and one.base not in there
    }
    return (*deltas, *earlier.values())


def make(store: Store, bundle: str, bases: Iterable[str]) -> tuple[Delta, ...]:
    """A delta from each of the bundles ``bases`` that is worth it; made once, then kept.

    A base that the store does not have any more, or whose files are too large, has none.
    """
    found: list[Delta] = []
    for base in bases:
        try:
            old, new = _differing(store, base, bundle)
        except StoreError as fault:
            logger.warning("delta.lost base=%s fault=%s", base, fault)
            continue
        if not new or sum(one.size for one in (*old, *new)) > LARGEST:
            continue
        data = _kept(store, bundle, base) or _made(store, bundle, base, old, new)
        whole = sum(one.size for one in new)
        logger.info("delta.done base=%s to=%s bytes=%d of=%d", base, bundle, len(data), whole)
        if len(data) < whole:
            found.append(Delta(base=base, to=bundle, digest=digest_of(data), size=len(data)))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A delta's bytes, and those of the files that it makes."""

    size: int
    makes: int


def kept(store: Store, bundle: str) -> dict[str, Kept]:
    """Every delta to a bundle that was ever made, listed or not, by digest."""
    found: dict[str, Kept] = {}
    for paper in referrers.of_type(store.layout, bundle, DELTA_TYPE):
        found[digest_of(paper.data)] = Kept(size=len(paper.data), makes=_makes(paper.data))
    return found


def _makes(delta: bytes) -> int:
    from edgeloop.delta import header

    told = header.read(lambda place, count: delta[place : place + count], len(delta))
    return sum(one.size for one in told.new)


def _differing(store: Store, base: str, bundle: str) -> tuple[list[Layer], list[Layer]]:
    """The files that one has and the other has not."""
    old, new = (layers_of(store.layout.read(one), one) for one in (base, bundle))
    before, after = ({one.digest for one in side} for side in (old, new))
    return [one for one in old if one.digest not in after], _once(new, before)


def _once(layers: Sequence[Layer], before: set[str]) -> list[Layer]:
    """Each digest once."""
    found = {one.digest: one for one in layers if one.digest not in before}
    return list(found.values())


def _made(
    store: Store, bundle: str, base: str, old: Sequence[Layer], new: Sequence[Layer]
) -> bytes:
    from edgeloop.delta.create import create_bytes  # needs numpy

    sides = ([store.layout.read(one.digest) for one in side] for side in (old, new))
    data = create_bytes(*sides).data
    paper = Paper(name="delta", media_type=DELTA_TYPE, data=data)
    referrers.attach(store.layout, bundle, _about(base), [paper])
    return data


def _kept(store: Store, bundle: str, base: str) -> bytes | None:
    papers = referrers.papers(store.layout, bundle, _about(base))
    return papers[0].data if papers else None


def _about(base: str) -> str:
    return f"delta from {base}"
