"""Bad weather: the faults of a network, drawn by a seed, between an agent and what it asks.

The same seed gives the same faults in the same order. Over a real wire: ``weather_proxy``.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from edgeloop.agent.transport import Reply, Transport, bounded
from edgeloop.errors import UnreachableError

if TYPE_CHECKING:
    from edgeloop.clock import Clock

LONGEST_DELAY = 2.0  # seconds
LATEST = 4  # requests that may overtake one
MOST_ADDED = 64  # bytes behind a reply of the wrong length
GATEWAYS = (500, 502, 503, 504)


class Kind(StrEnum):
    """What may happen to one request and its reply."""

    CUT = "cut"  # it does not arrive
    RESET = "reset"  # it arrives; its reply never comes
    TRUNCATED = "truncated"  # the line breaks within the reply
    CORRUPTED = "corrupted"  # a bit of the reply's body is another one
    GARBLED = "garbled"  # a bit of the request's body is another one
    DELAYED = "delayed"  # it arrives late
    DUPLICATED = "duplicated"  # it arrives twice; one of the two replies comes
    REORDERED = "reordered"  # it arrives behind later ones; its reply never comes
    REFUSED = "refused"  # somebody on the way answers 5xx; it may have arrived
    WRONG_LENGTH = "wrong length"  # the reply's body has fewer or more bytes than it should


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. ``place`` in 0..1 says where in the body, how late, or which of the ways."""

    kind: Kind
    place: float
    bit: int  # 0..7

    @property
    def early(self) -> bool:
        """The first of two ways, each as likely as the other."""
        return self.place < 0.5

    @property
    def seconds(self) -> float:
        """How late."""
        return self.place * LONGEST_DELAY

    @property
    def overtaken(self) -> int:
        """By how many later requests."""
        return 1 + int(self.place * LATEST)

    @property
    def status(self) -> int:
        """Of the one who refuses."""
        return GATEWAYS[self.bit % len(GATEWAYS)]

    def flipped(self, body: bytes) -> bytes:
        """``body`` with one bit changed; an empty one has none."""
        if not body:
            return body
        at = int(self.place * len(body))
        return body[:at] + bytes([body[at] ^ (1 << self.bit)]) + body[at + 1 :]

    def lengthened(self, body: bytes) -> bytes:
        """``body`` with bytes missing at its end, or more behind it."""
        if self.early:
            return body[: int(2 * self.place * len(body))]
        return body + b"\0" * (1 + int(self.place * MOST_ADDED))


class Weather:
    """Draws a fault for each so-many-th request: ``share`` of them, in 0..1; 0 is calm.

    ``met`` counts the faults by kind. Safe for several threads.
    """

    def __init__(self, seed: int, share: float, kinds: Sequence[Kind] = tuple(Kind)) -> None:
        self._draw = random.Random(seed)  # noqa: S311  (weather, not a secret)
        self._kinds, self._lock = tuple(kinds), threading.Lock()
        self.seed, self.share = seed, share
        self.met: Counter[str] = Counter()

    def next(self) -> Fault | None:
        """What happens to the next request; None when nothing does."""
        with self._lock:
            happens, kind = self._draw.random() < self.share, self._draw.choice(self._kinds)
            fault = Fault(kind=kind, place=self._draw.random(), bit=self._draw.randrange(8))
            if not happens:
                return None
            self.met[fault.kind] += 1
            return fault


@dataclass(frozen=True, kw_only=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    most: int


class Weathered:
    """``transport`` in bad weather: an agent's ``Transport``. Waiting is ``clock``'s matter."""

    def __init__(self, transport: Transport, weather: Weather, clock: Clock) -> None:
        self._transport, self._weather, self._clock = transport, weather, clock
        self._late: list[tuple[int, _Request]] = []  # how many may still overtake it

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> Reply:
        """See :class:`edgeloop.agent.transport.Transport`."""
        request = _Request(method=method, url=url, headers=headers, body=body, most=max_bytes)
        fault = self._weather.next()
        try:
            return self._pass(request) if fault is None else self._spoil(request, fault)
        finally:
            self._overtake()

    def arrive(self) -> None:
        """Let all that is still on its way arrive."""
        late, self._late = self._late, []
        for _, request in late:
            self._lose(request)

    def _pass(self, request: _Request) -> Reply:
        told = (request.method, request.url, request.headers, request.body)
        return self._transport.send(*told, request.most)

    def _spoil(self, request: _Request, fault: Fault) -> Reply:
        if fault.kind is Kind.DELAYED:
            self._clock.sleep(fault.seconds)
        elif fault.kind is Kind.GARBLED:
            request = replace(request, body=fault.flipped(request.body))
        elif fault.kind is Kind.DUPLICATED:
            return self._twice(request, fault)
        elif fault.kind is Kind.REFUSED:
            return self._refuse(request, fault)
        elif fault.kind in {Kind.CUT, Kind.RESET, Kind.REORDERED}:
            self._keep_from(request, fault)
        reply = self._pass(request)
        if fault.kind in {Kind.TRUNCATED, Kind.CORRUPTED, Kind.WRONG_LENGTH}:
            spoilt = _spoilt(request.url, fault, reply.chunks)
            return replace(reply, chunks=bounded(request.url, spoilt, request.most))
        return reply

    def _twice(self, request: _Request, fault: Fault) -> Reply:
        first = self._pass(request)
        second = self._pass(request)
        return first if fault.early else second

    def _refuse(self, request: _Request, fault: Fault) -> Reply:
        if fault.early:
            self._lose(request)
        said = bounded(request.url, iter([b"<html>bad gateway</html>"]), request.most)
        return Reply(status=fault.status, headers={}, chunks=said)

    def _keep_from(self, request: _Request, fault: Fault) -> None:
        """Of what gets no reply: whether it arrives now, later, or never."""
        if fault.kind is Kind.REORDERED:
            self._late.append((fault.overtaken + 1, request))
        elif fault.kind is Kind.RESET:
            self._lose(request)
        raise UnreachableError(request.url, "must answer", got=f"bad weather: {fault.kind}")

    def _lose(self, request: _Request) -> None:
        """It arrives; nobody hears what is said to it."""
        try:
            self._pass(request).close()
        except UnreachableError:
            return

    def _overtake(self) -> None:
        late = [(left - 1, request) for left, request in self._late]
        self._late = [(left, request) for left, request in late if left > 0]
        for left, request in late:
            if left == 0:
                self._lose(request)


def _spoilt(url: str, fault: Fault, chunks: Iterator[bytes]) -> Iterator[bytes]:
    body = b"".join(chunks)
    if fault.kind is Kind.CORRUPTED:
        yield fault.flipped(body)
    elif fault.kind is Kind.WRONG_LENGTH:
        yield fault.lengthened(body)
    else:
        yield body[: int(fault.place * len(body))]
        raise UnreachableError(url, "must come whole", got=f"bad weather: {fault.kind}")
