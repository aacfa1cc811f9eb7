"""Low-usage hours as people write them, ``02:00-05:00``, and when they are. No clock of its own.

All is local time, as the clock on the wall shows it: on the night when it is put forward an hour is
missing, on the other one it is there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from edgeloop.errors import ProtocolError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WRITTEN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
MINUTES = 24 * 60


class Hours(NamedTuple):
    """Minutes of the day; ``end`` is not inside. Over midnight where it is before ``begin``."""

    begin: int
    end: int

    def has(self, local: datetime, days: Sequence[str]) -> bool:
        """Whether a moment is inside; over midnight it belongs to the day on which it began."""
        minute = local.hour * 60 + local.minute
        if self.begin < self.end:
            return self.begin <= minute < self.end and _on(local, days)
        if minute >= self.begin:
            return _on(local, days)
        return minute < self.end and _on(local - timedelta(days=1), days)


def parse(text: str) -> Hours:
    """``"22:30-04:00"`` -> ``Hours(1350, 240)``.

    Raises:
        ProtocolError: it is not written so, or has no length.
    """
    found = WRITTEN.fullmatch(text)
    thing = f"hours {text!r}"
    if found is None:
        raise ProtocolError(thing, "must be like 02:00-05:00")
    begin = int(found[1]) * 60 + int(found[2])
    end = MINUTES if found[3] is None else int(found[3]) * 60 + int(found[4])
    if begin == end:
        raise ProtocolError(thing, "must not end when they begin; every hour is without hours")
    return Hours(begin, end)


def inside(when: float, hours: Iterable[str], days: Sequence[str], zone: tzinfo | None) -> bool:
    """Whether ``when`` (Unix seconds) is in one of ``hours``; ``days`` empty: on any day.

    ``zone`` None: the system's.
    """
    local = datetime.fromtimestamp(when, zone)
    return any(parse(text).has(local, days) for text in hours)


def next_inside(
    when: float, hours: Sequence[str], days: Sequence[str], zone: tzinfo | None
) -> float | None:
    """The next beginning of ``hours`` behind ``when``; None: none within a week and a day."""
    begins = sorted(_begins(when, hours, zone))
    return next((t for t in begins if t > when and inside(t, hours, days, zone)), None)


def _begins(when: float, hours: Sequence[str], zone: tzinfo | None) -> Iterator[float]:
    midnight = datetime.fromtimestamp(when, zone).replace(
        hour=0, minute=0, second=0, microsecond=0, fold=0
    )
    for day in range(9):
        for text in hours:
            begin = parse(text).begin
            local = midnight + timedelta(days=day)
            yield local.replace(hour=begin // 60, minute=begin % 60).timestamp()


def _on(local: datetime, days: Sequence[str]) -> bool:
    return not days or DAYS[local.weekday()] in days
