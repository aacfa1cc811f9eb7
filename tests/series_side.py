"""A small world for tests of series: hourly readings with a day, learnt at once."""

import dataclasses

import numpy as np

from edgeloop.data.snapshot import with_column, write
from edgeloop.data.split_by_time import ByTime
from edgeloop.plugins import Context
from edgeloop.recipes.forecaster import Forecaster
from edgeloop.types import AnswerSpec, Snapshot

HOUR = 3600
HORIZONS = [1, 6]
SCALE = 5.0
ANSWER = AnswerSpec(kind="series", params={"horizons": HORIZONS, "level": 0.8, "scale": SCALE})
RECIPE = Forecaster(window=24, season=24, periods=(86400,), width=16, epochs=25, batch=64)


def readings(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Times datetime64[s][n] by the hour; a day's wave on a level that wanders, as float32[n]."""
    times = np.datetime64("2024-01-01T00:00:00", "s") + np.arange(count) * HOUR
    wave = 50 + 20 * np.sin(np.arange(count) * 2 * np.pi / 24)
    level, steps = np.zeros(count), np.random.default_rng(seed).normal(0, 1, count)
    for row in range(1, count):
        level[row] = 0.95 * level[row - 1] + steps[row]
    return times, (wave + level).astype(np.float32)


def ahead(values: np.ndarray) -> np.ndarray:
    longer = np.concatenate([values, np.full(max(HORIZONS), np.nan, np.float32)])
    return np.stack([longer[h : h + len(values)] for h in HORIZONS], axis=1)


def series(context: Context, values: np.ndarray | None = None) -> Snapshot:
    """960 readings of two seasons, split by time."""
    times, drawn = readings(960)
    values = drawn if values is None else values
    whole = write(
        name="waves",
        inputs={"time": times, "value": values},
        target=("ahead", ahead(values)),
        answer=ANSWER,
        scratch=context.scratch,
        provenance={},
    )
    seasons = dataclasses.replace(whole, profiles=("cold", "warm"))
    halves = (np.arange(960) // 240 % 2).astype(np.uint8)
    known = with_column(seasons, "profile", halves, context.scratch)
    return ByTime(test=0.25, validation=0.2).run(known, context)
