"""Rows as people read them: a table in Markdown, and means over groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from delta import peers
from delta.rows import Row


def mean_ratio(rows: Iterable[Row]) -> float:
    """Ours by the smallest peer: geometric mean. Files that are the same have no ratio."""
    logs = [math.log(one.ratio) for one in rows]
    return math.exp(sum(logs) / len(logs))


def by(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, float]:
    """Geometric mean of each group."""
    groups = dict.fromkeys(map(key, rows))
    return {one: mean_ratio([row for row in rows if key(row) == one]) for one in groups}


def lines(rows: Sequence[Row]) -> list[str]:
    """A table in Markdown, the smallest of each row in bold, what does not fit in brackets."""
    names = [peer.name for peer in peers.PEERS]
    head = ["model", "update", "form", "old → new", *names, "ours", "ours / best peer"]
    under = ["---"] * 4 + ["---:"] * (len(names) + 2)
    return [_line(head), _line(under), *(_line(_cells(one, names)) for one in rows)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(one: Row, names: Sequence[str]) -> list[str]:
    least = min(one.ours, one.sizes[one.best])

    def told(size: int | None, *, fits: bool) -> str:
        if size is None:
            return "not measured"
        text = f"{size:,}" if fits else f"({size:,})"
        return f"**{text}**" if size == least else text

    text = one.pair.model == "letters"
    scores = [f"{s:.2f}" if text else f"{s:.1%}" for s in (one.old_score, one.new_score)]
    return [
        one.pair.model,
        one.pair.update,
        one.pair.form,
        " → ".join(scores),
        *(told(one.sizes.get(name), fits=name in one.fits) for name in names),
        told(one.ours, fits=True),
        f"{one.ratio:.3f} ({one.best})",
    ]
