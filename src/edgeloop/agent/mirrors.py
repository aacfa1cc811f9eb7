"""Find the bytes of a blob at the nearest place that has them: mirrors in order, then the server.

A mirror is not trusted and not told who asks. One that fails, is slow or gave wrong bytes is left
for the next one, behind the bytes that came, and rests for a while. What is wrong with the bytes
is seen by whoever asked (``Blobs``), who then asks from the first byte again. A limit of bandwidth
holds for all of them together, but not for a folder of this device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeloop.agent.sources import Folder, Source, Unfound
from edgeloop.agent.transport import Allowance, Pace, Reply, bounded, paced
from edgeloop.errors import ProtocolError, UnreachableError

if TYPE_CHECKING:
    from edgeloop.clock import Clock

logger = logging.getLogger(__name__)

REST_SECONDS = 600.0  # that a mirror is not asked after it failed


def _nothing(size: int) -> None:
    """What is called with each piece where nobody wants to know."""


def _unlimited() -> float | None:
    """Bytes per second where nobody sets a limit."""
    return None


@dataclass(kw_only=True)
class _Place:
    """One source, and how it did."""

    source: Source
    rests_until: float = 0.0
    gave: set[str] = field(default_factory=set)  # digests of which bytes came from here


class Mirrors:
    """``mirrors`` before ``server``, which is asked last and always.

    ``came`` is called behind each piece with its size, so that a long download is seen to go on,
    and with 0 behind one of what was here already, from a place that cannot resume;
    what it raises ends the reply, with all that came before. ``limit`` gives bytes per second.
    """

    def __init__(
        self,
        mirrors: Sequence[Source],
        server: Source,
        clock: Clock,
        pace: Pace,
        came: Callable[[int], None] = _nothing,
        limit: Callable[[], float | None] = _unlimited,
    ) -> None:
        self._mirrors = [_Place(source=one) for one in mirrors]
        self._server = _Place(source=server)
        self._clock, self._pace, self._came = clock, pace, came
        self._limit, self._allowance = limit, Allowance(clock)

    def read(self, digest: str, first: int, most: int) -> Reply:
        """The blob from byte ``first`` on; status 206 where that is not the first one.

        The chunks raise what the last place raised, when all of them failed.
        """
        suspected = first == 0 and self._suspect(digest)
        now = self._clock.monotonic()
        well = [one for one in self._mirrors if one.rests_until <= now]
        places = [self._server, *well] if suspected else [*well, self._server]
        chunks = self._chunks(places, digest, first, most)
        return Reply(status=206 if first else 200, headers={}, chunks=chunks, close=chunks.close)

    def _suspect(self, digest: str) -> bool:
        """Whether mirrors gave wrong bytes: who asks again from the first byte had others.

        Then the server is asked before any other mirror: many bad ones cannot hold up an update.
        """
        gave = [one for one in self._mirrors if digest in one.gave]
        for mirror in gave:
            mirror.gave.discard(digest)
            self._leave(mirror, digest, "wrong bytes")
        return bool(gave)

    def _chunks(self, places: list[_Place], digest: str, first: int, most: int) -> Generator[bytes]:
        end = first + most
        last: UnreachableError | ProtocolError | None = None
        for place in places:
            try:
                for chunk in self._from(place, digest, first, end - first):
                    first += len(chunk)
                    if chunk:
                        yield chunk
                    self._came(len(chunk))
            except (UnreachableError, ProtocolError) as fault:
                self._leave(place, digest, fault)
                last = fault.with_traceback(None)  # which would hold all that it went through
            else:
                if first == end or place is self._server:  # whoever asked sees what is missing
                    return
                self._leave(place, digest, f"ended {end - first} bytes early")
        if last is not None:
            raise last

    def _from(self, place: _Place, digest: str, first: int, most: int) -> Iterator[bytes]:
        name = f"blob {digest}"
        before, reply = place.source.open(digest, first, most)
        limit = None if isinstance(place.source, Folder) else self._limit()
        with closing(reply):  # a place that is left must not go on sending
            pieces = paced(name, reply.chunks, self._clock, self._pace)
            within = pieces if limit is None else self._within(pieces, limit)
            for chunk in bounded(name, _behind(within, before), most):
                if chunk:
                    place.gave.add(digest)
                yield chunk

    def _within(self, chunks: Iterator[bytes], limit: float) -> Iterator[bytes]:
        """``chunks`` no faster than ``limit``; bytes that nobody wanted have come as well."""
        for chunk in chunks:
            yield chunk
            self._allowance.spend(len(chunk), limit)

    def _leave(self, place: _Place, digest: str, why: object) -> None:
        if not isinstance(why, Unfound):
            place.rests_until = self._clock.monotonic() + REST_SECONDS
        if place is not self._server:
            logger.warning("mirror.left mirror=%s digest=%s why=%s", place.source.name, digest, why)


def _behind(chunks: Iterator[bytes], before: int) -> Iterator[bytes]:
    """What comes after the first ``before`` bytes; for a piece of those, an empty one."""
    for chunk in chunks:
        yield chunk[before:]
        before = max(0, before - len(chunk))
