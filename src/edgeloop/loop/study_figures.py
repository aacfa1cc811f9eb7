"""The pictures of a study: every seed a dot, every difference with its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeloop.loop.report import canvas
from edgeloop.loop.report.canvas import ACCENT, BAD, IDLE, INK, MUTED
from edgeloop.loop.study_result import DIFFERS, Comparison, StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.42  # inches
SPREAD = 0.22  # of a row: how far apart the first and the last seed's dots stand


@canvas.styled
def values(result: StudyResult) -> str:
    """One panel per loop and one row per arm: each seed's value, and the mean."""
    loops = list(dict.fromkeys(one.loop for one in result.arms))
    figure, panels = _panels([[a.arm for a in result.arms if a.loop == loop] for loop in loops])
    for axes, loop in zip(panels, loops, strict=True):
        arms = [one for one in result.arms if one.loop == loop]
        for place, arm in enumerate(arms):
            mine = [p for p in result.points if (p.loop, p.arm) == (loop, arm.arm)]
            _dots(axes, place, [p.value for p in mine if p.value is not None])
            if arm.mean is not None:
                axes.vlines(arm.mean, place - 0.33, place + 0.33, color=INK, linewidth=1.4)
        _rows(axes, loop, [one.arm for one in arms], result.measure, arms[0].unit)
    return canvas.svg(figure, "study-values", f"{result.measure} of each arm, by seed")


@canvas.styled
def differences(result: StudyResult) -> str:
    """One panel per loop and one row per arm: its difference to the baseline, with intervals."""
    loops = list(dict.fromkeys(one.loop for one in result.comparisons))
    told = [[c for c in result.comparisons if c.loop == loop] for loop in loops]
    figure, panels = _panels([[one.arm for one in several] for several in told])
    for axes, loop, several in zip(panels, loops, told, strict=True):
        axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        for place, one in enumerate(several):
            _difference(axes, place, one)
        axis = f"{result.measure}, minus {result.baseline}'s"
        _rows(axes, loop, [one.arm for one in several], axis, several[0].unit)
    title = f"{result.measure} of each arm minus that of {result.baseline}"
    return canvas.svg(figure, "study-differences", title)


def _panels(rows: Sequence[Sequence[str]]) -> tuple[Any, Sequence[Axes]]:
    """A panel below the other for each loop, as high as it has arms."""
    heights = [ROW * len(several) + 0.62 for several in rows]
    figure, grid = canvas.draw(sum(heights), len(rows), 1, height_ratios=heights)
    return figure, grid[:, 0]


def _rows(axes: Axes, loop: str, arms: Sequence[str], measure: str, unit: str) -> None:
    axes.set_yticks(range(len(arms)), arms)
    axes.set_ylim(len(arms) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    axes.set_title(loop)
    axes.set_xlabel(f"{measure}{unit and f' ({unit})'}")
    axes.margins(x=0.06)


def _dots(axes: Axes, place: int, found: Sequence[float]) -> None:
    """A dot per seed, in the order of the seeds from top to bottom."""
    step = 2 * SPREAD / max(len(found) - 1, 1)
    heights = [place - SPREAD + step * number for number in range(len(found))]
    axes.plot(found, heights, "o", color=ACCENT, markersize=4.5, alpha=0.8)


def _difference(axes: Axes, place: int, one: Comparison) -> None:
    if one.mean is None:
        across = axes.get_yaxis_transform()
        axes.text(0.02, place, one.verdict, color=MUTED, va="center", fontsize=8, transform=across)
        return
    color = BAD if one.verdict == DIFFERS else MUTED
    if one.over_rows:
        axes.plot(one.over_rows, [place, place], color=IDLE, linewidth=1.2)
        axes.plot(one.over_rows, [place, place], "|", color=IDLE, markersize=9)
    if one.over_seeds:
        axes.plot(one.over_seeds, [place, place], color=color, linewidth=5, alpha=0.4)
    axes.vlines(one.mean, place - 0.33, place + 0.33, color=INK, linewidth=1.4)
    _dots(axes, place, list(one.differences.values()))
