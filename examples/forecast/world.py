"""The world of the forecast example: one year of a counter that no snapshot holds, and its heir.

When the world has changed, another counter hangs in the same place: it sees a wider part of the
street, and counts two and a half times as many people. The hours and days are the same.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeloop.data.sets.pedestrians import future, readings

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

FIRST, LAST = "2025-02-01", "2025-12-30"
WIDER = 2.5  # people that the new counter sees for each one that the old one saw


def rows(*, changed: bool) -> tuple[dict[str, Array], Array]:
    """Inputs by name, one reading per row in the order of time, and what comes to pass after each.

    The truth is float32[n, 3]; NaN where it is never known.
    """
    times, values = readings(FIRST, LAST)
    seen = values * np.float32(WIDER if changed else 1)
    return {"time": times, "value": seen}, future(times, seen)


TRUTH_AFTER = 24  # answers, hours here: until the farthest horizon has come

if __name__ == "__main__":
    sys.exit("world.py is used by the program that plays the devices")
