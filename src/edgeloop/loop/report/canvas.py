"""Matplotlib figures as inline SVG whose colours come from the page, for light and dark.

A figure is drawn in stand-in colours; in the SVG each becomes the page's CSS variable of its role.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from edgeloop.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
GOOD, BAD, IDLE, ACCENT, SOFT = "#050505", "#060606", "#070707", "#080808", "#090909"
RELEASES = tuple(f"#0a0a{number:02x}" for number in range(8))  # by version, then again from 1
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    GOOD: "good",
    BAD: "bad",
    IDLE: "idle",
    ACCENT: "accent",
    SOFT: "soft",
    **{color: f"r{number}" for number, color in enumerate(RELEASES)},
}
WIDTH = 9.0  # inches of 72 points: the page's column
STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
}
P = ParamSpec("P")
UNUSED_ID = re.compile(r' id="([^"]*)"')


def release_color(version: int | None) -> str:
    """The stand-in of a release; grey for none."""
    return IDLE if version is None else RELEASES[(version - 1) % len(RELEASES)]


def release_variable(version: int) -> str:
    """The CSS variable of a release, for the page's own marks."""
    return VARIABLES[release_color(version)]


def styled(picture: Callable[P, str]) -> Callable[P, str]:
    """Draw under the page's style, whatever the machine's own settings are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """

    @wraps(picture)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            import matplotlib as mpl
        except ImportError as error:
            raise MissingExtraError(
                "matplotlib",
                "must be installed to draw a report",
                todo="pip install 'edgeloop[report]'",
            ) from error
        with mpl.rc_context(STYLE):
            return picture(*args, **kwargs)

    return drawn


def draw(height: float, rows: int = 1, columns: int = 1, **grid: Any) -> tuple[Figure, Any]:
    """An empty figure as wide as the page, ``height`` inches high; its axes by row and column."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def svg(figure: Figure, name: str, title: str) -> str:
    """``figure`` as one ``<svg>`` element that reads ``title`` aloud; same figure, same text.

    ``name`` keeps the ids inside apart from those of the page's other pictures.
    """
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    return _inline(stream.getvalue(), name, title)


def _inline(text: str, name: str, title: str) -> str:
    """What a page needs of a standalone SVG file: no prolog, no namespaces, no fixed size."""
    body = text[text.index("<svg") :]
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)  # every text again, unescaped for HTML
    body = body.replace("xlink:href", "href")
    box = re.search(r'viewBox="([^"]*)"', body)
    inner = body[body.index(">") + 1 :]
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', inner))
    inner = UNUSED_ID.sub(lambda m: m[0] if m[1] in used else "", inner)
    inner = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", inner)
    inner = re.sub(
        r"font: (bold|700) ([0-9.]+)px [^;\"]*", r"font-weight: 600; font-size: \2px", inner
    )
    for color, variable in VARIABLES.items():
        inner = inner.replace(color, f"var(--{variable})")
    head = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-labelledby="title-{name}">'
    return f'{head}<title id="title-{name}">{_escaped(title)}</title>{inner.strip()}'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def time_axis(axes: Axes, began: float, ended: float) -> None:
    """Ticks at whole minutes (or hours, or days) since the start."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    from edgeloop.loop.report.words import clock

    length = max(ended - began, 1.0)
    steps = (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
    step = next((s for s in steps if length / s <= 10), 86400 * (int(length / 864000) + 1))
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value)))
    axes.set_xlim(0, length)
