"""Draw what checks saw: a matrix, bars or lines, one panel per release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeloop.loop.report import canvas
from edgeloop.loop.report.canvas import ACCENT, BAD, IDLE, INK, MUTED
from edgeloop.loop.report.evidence import Bars, Lines, Matrix, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 22  # characters of a name in a picture
SHORT = 3  # characters of names that stand side by side
LINES = (  # those of fewer lines are the last ones
    (BAD, ":"),
    (ACCENT, ":"),
    (MUTED, ":"),
    (INK, ":"),
    (MUTED, "-"),
    (IDLE, "-"),
    (INK, "-"),
    (ACCENT, "-"),
)
LETTER = 0.075  # inches of a name that stands upright
PANELS = 3  # beside each other


@canvas.styled
def draw(number: int, panels: Mapping[int, Picture]) -> str:
    """The same picture of one or more releases, by version; ``number`` tells it from others."""
    first = next(iter(panels.values()))
    alone = isinstance(first, Lines) or (isinstance(first, Matrix) and first.wide)
    across = 1 if alone else PANELS
    down = -(-len(panels) // across)
    height = max(_height(picture, across) for picture in panels.values())
    figure, grid = canvas.draw(down * height, down, across)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (version, picture) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, picture, canvas.release_color(version))
        axes.set_title(f"release {version}")
    return canvas.svg(figure, f"seen-{number}", first.title)


def _height(picture: Picture, across: int) -> float:
    """Inches."""
    if isinstance(picture, Matrix):
        longest = max(map(len, _cut(picture.columns)))
        upright = LETTER * longest if longest > SHORT else 0.0
        return upright + (3.4 if across > 1 else 0.3 * len(picture.rows) + 0.9)
    return 0.8 + 0.2 * len(picture.names) if isinstance(picture, Bars) else 2.2


def _panel(axes: Axes, picture: Picture, color: str) -> None:
    if isinstance(picture, Matrix):
        _matrix(axes, picture)
    elif isinstance(picture, Bars):
        _bars(axes, picture, color)
    else:
        _lines(axes, picture)


def _matrix(axes: Axes, matrix: Matrix) -> None:
    """Cells as parts of their row; the darker, the larger."""
    for row, values in enumerate(matrix.cells):
        total = sum(value for value in values if value > 0)
        for column, value in enumerate(values):
            if value:
                wrong = matrix.square and row != column
                _cell(axes, (column, row), value, value / total if total else 0.0, wrong=wrong)
    axes.set(xlim=(-0.5, len(matrix.columns) - 0.5), ylim=(len(matrix.rows) - 0.5, -0.5))
    axes.set_aspect("equal", anchor="N")
    across = _cut(matrix.columns)
    turned = 0 if max(map(len, across)) <= SHORT else 90
    axes.set_xticks(range(len(across)), across, rotation=turned)
    axes.set_yticks(range(len(matrix.rows)), _cut(matrix.rows))
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _cell(axes: Axes, at: tuple[int, int], value: float, share: float, *, wrong: bool) -> None:
    from matplotlib.patches import Rectangle

    x, y = at
    part = min(max(share, 0.0), 1.0)
    depth = min(0.15 + 3 * part, 0.6) if wrong else 0.08 + 0.42 * part
    color = BAD if wrong else ACCENT
    box = Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=color, alpha=depth, linewidth=0)
    axes.add_patch(box)
    axes.text(x, y, f"{value:.4g}", ha="center", va="center", fontsize=7)


def _bars(axes: Axes, bars: Bars, color: str) -> None:
    axes.barh(range(len(bars.names)), bars.values, height=0.7, color=color, alpha=0.8)
    axes.set_yticks(range(len(bars.names)), _cut(bars.names))
    axes.set_ylim(len(bars.names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(bars.unit)


def _lines(axes: Axes, lines: Lines) -> None:
    for (name, values), (color, style) in zip(
        lines.lines.items(), LINES[-len(lines.lines) :], strict=True
    ):
        known = [float("nan") if value is None else value for value in values]
        axes.plot(lines.x, known, style, color=color, linewidth=1.2, label=_short(name))
    axes.set(xlabel=lines.x_name, ylabel=lines.y_name)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.1)


def _cut(names: Sequence[str]) -> list[str]:
    return [_short(name) for name in names]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
