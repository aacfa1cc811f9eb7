"""What the loop adds to its offline steps: wall time minus time inside them, and where it goes.

A step's time is that of the plugin's own call. All else is overhead: keys, keeping artifacts,
opening them, signing and publishing the release.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

from edgeloop.cli.loop import tracker_of
from edgeloop.loop import keys, runner
from edgeloop.loop.file import load_loop
from edgeloop.loop.start import write_loop
from edgeloop.store.artifacts import Store
from environments import ROOT
from figure import Figure, Measured, main

REPEATS = 5
MOST = 0.05  # share of the wall time
NO_LIMITS = (  # one epoch is too few for any gate
    "recipe.epochs=1", "checks.accuracy={}", "checks.accuracy_drop={}", "checks.worst_class={}",
    "checks.golden_parity={min: 0.001}",
)  # fmt: skip
WATCHED = (  # what is timed beside the steps: owner, function, words
    (runner, "made_by", "keys"),
    (Store, "keep", "keeping artifacts"),
    (Store, "by_key", "asking for keys"),
    (runner, "publish", "signing and publishing"),
    (os, "fsync", "fsync, within keeping and publishing"),
)


@dataclass(kw_only=True)
class Turn:
    """One run of a loop on a fresh store, in seconds."""

    wall: float = 0.0
    inside: float = 0.0
    calls: int = 0
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def overhead(self) -> float:
        """Seconds that are not a step's."""
        return self.wall - self.inside

    @property
    def share(self) -> float:
        """Overhead over wall time."""
        return self.overhead / self.wall


def measure(work: Path) -> Measured:
    """A loop of one epoch several times, the demo's once; imports are warm, keys are not."""
    work.mkdir(parents=True, exist_ok=True)
    tiny, demo = _tiny(work), _demo(work)
    turn_once(tiny)  # imports, and what libraries make at their first call
    turns = [turn_once(tiny) for _ in range(REPEATS)]
    whole = turn_once(demo)
    samples = {"share, one epoch": [t.share for t in turns], "share, demo": [whole.share]}
    one_epoch = _figure("a recipe of one epoch (the template's)", turns)
    return Measured(figures=(one_epoch, _figure("the demo's release 1", [whole])), samples=samples)


def turn_once(prepare: Callable[[], Any]) -> Turn:
    """Run a loop that has no store yet."""
    loop, turn = prepare(), Turn()
    store = Store(loop.path(loop.settings.store))
    _forget_sources()
    with _watched(turn):
        began = time.perf_counter()
        result = runner.run_loop(loop, store, tracker=tracker_of(loop))
        turn.wall = time.perf_counter() - began
    turn.inside = sum(step.seconds for step in result.steps)
    turn.calls = result.executed
    return turn


def _forget_sources() -> None:
    """Every turn reads and parses the plugins' sources anew, as a new process does."""
    for function in vars(keys).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def _tiny(work: Path) -> Callable[[], Any]:
    return lambda: load_loop(write_loop(Path(mkdtemp(dir=work, prefix="tiny-"))), NO_LIMITS)


def _demo(work: Path) -> Callable[[], Any]:
    def prepare() -> Any:
        folder = Path(mkdtemp(dir=work, prefix="digits-"))
        return load_loop(Path(shutil.copy(ROOT / "examples" / "digits" / "loop.yaml", folder)))

    return prepare


@contextmanager
def _watched(turn: Turn) -> Iterator[None]:
    """Add up what the watched functions take, per words."""
    with ExitStack() as stack:
        for owner, name, words in WATCHED:
            timed = _timed(getattr(owner, name), words, turn.parts)
            stack.enter_context(patch.object(owner, name, timed))
        yield


def _timed(work: Callable[..., Any], words: str, parts: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return work(*args, **named)
        finally:
            parts[words] = parts.get(words, 0.0) + time.perf_counter() - began

    return timed


def _figure(what: str, turns: list[Turn]) -> Figure:
    shares = [turn.share for turn in turns]
    middle = sorted(turns, key=lambda turn: turn.share)[len(turns) // 2]
    named = [words for _, _, words in WATCHED]
    parts = [f"{words} {middle.parts.get(words, 0) * 1000:.0f} ms" for words in named]
    rest = middle.overhead - sum(middle.parts.get(words, 0) for words in named[:-1])
    return Figure(
        what=f"loop overhead of {what}",
        value=f"{median(shares):.1%} (n={len(turns)}, {min(shares):.1%} to {max(shares):.1%}):"
        f" {middle.overhead:.2f} of {middle.wall:.2f} s",
        target=f"{MOST:.0%} or less",
        met=median(shares) <= MOST,
        parts=(
            f"{middle.calls} steps ran, {middle.inside:.2f} s inside them",
            "; ".join([*parts, f"the rest {rest * 1000:.0f} ms"]),
        ),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
