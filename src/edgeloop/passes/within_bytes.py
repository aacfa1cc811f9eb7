"""Find the least rate whose delta is small enough: a larger rate never asks for more bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST = 1e-1
FACTOR = 10.0  # from one rung of the ladder to the next
HALVINGS = 3  # of the rung on which the limit lies


@dataclass(frozen=True, kw_only=True)
class Found:
    """A rate, and what its delta takes."""

    rate: float
    bytes: int


def within(limit: int, least: float, measured: Callable[[float], int]) -> Found:
    """The least rate from ``least`` on with at most ``limit`` bytes, or the largest there is."""
    above, found = None, Found(rate=least, bytes=measured(least))
    while found.bytes > limit and found.rate < LARGEST:
        above, rate = found, max(found.rate, 1e-9) * FACTOR
        found = Found(rate=rate, bytes=measured(rate))
    if above is None or found.bytes > limit:
        return found
    for _ in range(HALVINGS):
        rate = (max(above.rate, 1e-9) * found.rate) ** 0.5
        tried = Found(rate=rate, bytes=measured(rate))
        above, found = (above, tried) if tried.bytes <= limit else (tried, found)
    return found
