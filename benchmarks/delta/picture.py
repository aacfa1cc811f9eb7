"""One picture for the README: bytes of each method in each form, as shares of the full file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from io import StringIO

import matplotlib as mpl
from matplotlib.figure import Figure

from delta.rows import Row

METHODS = (  # from the plainest on; the rest stand in the table
    "zstd -19", "bsdiff4", "xdelta3", "zstd -22 patch", "HDiffPatch", "BitX", "NNC",
)  # fmt: skip
OURS = "edgeloop"
INK, PALE, STRONG = "#010203", "#9aa5b1", "#2f7dd1"  # INK is told by the page's colours
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "delta",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
COLORS = f"""<style>
  text {{ font-family: system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2933; }}
  @media (prefers-color-scheme: dark) {{ text {{ fill: #e4e7eb; }} }}
</style>
<title>Bytes of an update by method and form: {OURS} is the lowest bar</title>
"""


def drawn(rows: Sequence[Row]) -> str:
    """An SVG file: one panel for each form, its bars the mean share over all its pairs."""
    forms = list(dict.fromkeys(row.pair.form for row in rows))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.1 * math.ceil(len(forms) / 4) + 0.6), layout="constrained")
        axes = figure.subplots(math.ceil(len(forms) / 4), 4, squeeze=False).flat
        for place, axis in enumerate(axes):
            if place < len(forms):
                _panel(axis, forms[place], [row for row in rows if row.pair.form == forms[place]])
            else:
                axis.set_visible(False)
        figure.suptitle("Bytes of an update, % of the full file (geometric mean)", fontsize=11)
        return _standalone(figure)


def _panel(axis: mpl.axes.Axes, form: str, rows: Sequence[Row]) -> None:
    shares = {name: _mean(rows, name) for name in METHODS if all(name in r.sizes for r in rows)}
    shares[OURS] = _mean(rows, None)
    names = list(reversed(shares))
    bars = axis.barh(names, [100 * shares[name] for name in names], color=PALE, height=0.7)
    bars[0].set_color(STRONG)
    axis.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
    axis.set_title(f"{form} ({len(rows)})", fontsize=10)
    axis.set_xlim(0, 115)
    axis.tick_params(length=0, labelsize=8)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)


def _mean(rows: Sequence[Row], name: str | None) -> float:
    """Geometric mean of the share of the full file; None is ours."""
    logs = [math.log((r.ours if name is None else r.sizes[name]) / r.sizes["full"]) for r in rows]
    return math.exp(sum(logs) / len(logs))


def _standalone(figure: Figure) -> str:
    """With the reader's own colours, and nothing that differs between two runs."""
    stream = StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
    text = re.sub(rf"(fill|stroke): {INK};? ?", "", stream.getvalue())
    text = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    begin = text.index(">", text.index("<svg")) + 1
    return text[text.index("<svg") : begin] + COLORS + text[begin:].lstrip()
