"""Time whole processes, interleaved, and say median and spread."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median


def run(
    line: Sequence[object], folder: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """The stdout of a command that must succeed."""
    words = [str(word) for word in line]
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} gave {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def seconds_of(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(
    works: Mapping[str, Callable[[], object]], repeats: int, seed: int = 0
) -> dict[str, list[float]]:
    """Seconds of every call by name. Each round takes all, in an order of its own.

    A first round is not counted: it fills the caches of disk and bytecode for all alike.
    """
    for work in works.values():
        work()
    generator = random.Random(seed)
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name in generator.sample(list(works), len(works)):
            taken[name].append(seconds_of(works[name]))
    return taken


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Median, least and most, with the number of readings."""
    scale, digits = (1000, 0) if unit == "ms" else (1, 2)
    middle, least, most = (
        f"{v * scale:.{digits}f}" for v in (median(values), min(values), max(values))
    )
    return f"median {middle} {unit} ({least} to {most}, n={len(values)})"
