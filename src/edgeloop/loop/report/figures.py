"""The pictures of a report, each as one SVG element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from edgeloop.answers.intervals import wilson
from edgeloop.loop.report import canvas, graph
from edgeloop.loop.report.canvas import ACCENT, BAD, GRID, IDLE, INK, MUTED, PAPER, SOFT
from edgeloop.loop.report.facts import (
    CheckLine,
    DriftPoint,
    Facts,
    Lane,
    Node,
    QualityPoint,
    ReleaseFacts,
    RolloutFacts,
    Span,
    Training,
    Trigger,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

LEAST_PSI = 0.01  # where the logarithmic axis begins
HEADROOM = 6  # times the highest index: room for the triggers' words above every curve
UNDER = {"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 1}  # behind words over lines


@canvas.styled
def curves(training: Training) -> str:
    """Curves of one recipe step: those that end in the same word share a panel."""
    panels: dict[str, list[str]] = {}
    for name in training.curves:
        panels.setdefault(name.rpartition("_")[2], []).append(name)
    figure, grid = canvas.draw(2.2, 1, len(panels))
    for axes, (word, names) in zip(grid[0], sorted(panels.items()), strict=True):
        for number, name in enumerate(sorted(names)):
            values = training.curves[name]
            color, style = (ACCENT, "-") if number == len(names) - 1 else (MUTED, "--")
            label = name.rpartition("_")[0].replace("_", " ")
            axes.plot(range(1, len(values) + 1), values, style, color=color, label=label)
        axes.set_title(word if len(names) > 1 else names[0].replace("_", " "))
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(names) > 1:
            axes.legend(loc="best")
    title = f"Training curves of {training.plugin}"
    return canvas.svg(figure, f"curves-{training.digest[7:15]}", title)


@canvas.styled
def checks(releases: Sequence[ReleaseFacts]) -> str:
    """One panel per check: each release's value and interval, and the limit as a line."""
    names = list(dict.fromkeys(line.check for one in releases for line in one.checks))
    rows = -(-len(names) // 3)
    figure, grid = canvas.draw(rows * (0.75 + 0.2 * len(releases)), rows, 3)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, names, strict=False):
        lines = {r.version: line for r in releases for line in r.checks if line.check == name}
        _check(axes, name, lines)
    return canvas.svg(figure, "checks", "Each check of each release against its limit")


def _check(axes: Axes, name: str, lines: Mapping[int, CheckLine]) -> None:
    from matplotlib.ticker import MaxNLocator

    scale = 1000.0 if any(line.unit == "bytes" for line in lines.values()) else 1.0
    unit = "kB" if scale > 1 else next(iter(lines.values())).unit
    for place, (version, line) in enumerate(lines.items()):
        _measured(axes, place, version, line, scale)
    axes.set_title(f"{name}{unit and f' ({unit})'}")
    axes.set_yticks(range(len(lines)), [f"release {version}" for version in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(visible=False, axis="y")
    if all(line.value is None for line in lines.values()):
        axes.set_xticks([])  # a scale of nothing
    _limits(axes, list(lines.values()), scale)


def _limits(axes: Axes, lines: Sequence[CheckLine], scale: float) -> None:
    """Each row's limit as a line, with the side beyond it in the colour of failure."""
    limits = {
        place: line.bound / scale for place, line in enumerate(lines) if line.bound is not None
    }
    if not limits:
        return
    low, high = axes.get_xlim()
    low, high = min(low, *limits.values()), max(high, *limits.values())
    pad = 0.06 * (high - low)
    axes.set_xlim(low - pad, high + pad)
    for place, limit in limits.items():
        rows = (place - 0.5, 1.0)
        axes.vlines(limit, place - 0.5, place + 0.5, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        if lines[place].limit.startswith("<"):
            beyond = (limit, high + pad - limit)
        else:
            beyond = (low - pad, limit - low + pad)
        axes.broken_barh([beyond], rows, facecolors=BAD, alpha=0.1, linewidth=0)


def _measured(axes: Axes, place: int, version: int, line: CheckLine, scale: float) -> None:
    color = canvas.release_color(version)
    if line.value is None:
        axes.text(
            0.02,
            place,
            line.verdict if line.verdict == "not measured" else f"{line.verdict}, without a value",
            color=MUTED,
            va="center",
            fontsize=8,
            transform=axes.get_yaxis_transform(),
        )
        return
    if line.interval:
        low, high = (value / scale for value in line.interval)
        axes.plot([low, high], [place, place], color=color, linewidth=3, alpha=0.45)
    shape, face = ("o", color) if line.verdict == "pass" else ("X", BAD)
    axes.plot([line.value / scale], [place], shape, color=face, markersize=6)


@canvas.styled
def timeline(facts: Facts, shown: Sequence[Lane]) -> str:
    """One lane per device, coloured by the release that it runs; rollouts as spans above."""
    levels, labels = _levels(shown)
    above = 1.0 * len(facts.rollouts) + 0.4
    figure, grid = canvas.draw(0.24 * (above + len(levels) + len(labels)) + 0.6)
    axes = grid[0][0]
    for place, one in enumerate(facts.rollouts):
        _rollout(axes, place - above, one, facts)
    for lane, level in zip(shown, levels, strict=True):
        _lane(axes, level, lane, facts.began)
    for trigger in facts.triggers:
        if trigger.action == "fired":
            axes.axvline(trigger.time - facts.began, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    names = {level: lane.name for lane, level in zip(shown, levels, strict=True)} | labels
    names |= {place - above: f"rollout {r.id}" for place, r in enumerate(facts.rollouts)}
    axes.set_yticks(list(names), list(names.values()))
    for tick, level in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_fontweight("bold" if level in labels else "normal")
    axes.set_ylim(max(levels, default=0) + 0.7, -above - 0.6)
    axes.grid(visible=False, axis="y")
    canvas.time_axis(axes, facts.began, facts.ended)
    return canvas.svg(figure, "timeline", "Which release each device ran, over time")


def _levels(lanes: Sequence[Lane]) -> tuple[list[float], dict[float, str]]:
    """The height of each lane, and of each group's name."""
    levels: list[float] = []
    labels: dict[float, str] = {}
    at, group = 0.0, None
    for lane in lanes:
        if lane.group != group:
            group = lane.group
            labels[at] = group or "no group"
            at += 1
        levels.append(at)
        at += 1
    return levels, labels


def _rollout(axes: Axes, level: float, one: RolloutFacts, facts: Facts) -> None:
    began, ended = one.began - facts.began, (one.ended or facts.ended) - facts.began
    color = canvas.release_color(one.version)
    axes.broken_barh(
        [(began, max(ended - began, 0.5))],
        (level - 0.32, 0.64),
        facecolors=color,
        alpha=0.35,
        linewidth=0,
    )
    text = f"release {one.version} · {one.state}"
    late = ended > 0.75 * (facts.ended - facts.began)
    x, side = (
        (began, "right") if late and began > 0.3 * (facts.ended - facts.began) else (ended, "left")
    )
    axes.annotate(
        text,
        (x, level),
        xytext=(-5 if side == "right" else 5, 0),
        ha=side,
        va="center",
        textcoords="offset points",
        fontsize=8,
        bbox=UNDER,
    )


def _lane(axes: Axes, level: float, lane: Lane, began: float) -> None:
    for span in lane.spans:
        _span(axes, level, span, began)
    for mark in lane.marks:
        x = mark.time - began
        axes.plot([x], [level], "X", color=BAD, markersize=8, markeredgecolor=PAPER)
        axes.annotate(
            mark.kind,
            (x, level),
            xytext=(7, 0),
            textcoords="offset points",
            color=INK,
            fontsize=8,
            va="center",
            bbox=UNDER,
        )


def _span(axes: Axes, level: float, span: Span, began: float) -> None:
    where = [(span.began - began, span.ended - span.began)]
    color = canvas.release_color(span.running)
    axes.broken_barh(
        where,
        (level - 0.36, 0.72),
        facecolors=color,
        linewidth=0,
        alpha=0.9 if span.running else 0.35,
    )
    if span.trying is not None and span.trying != span.running:
        trying = canvas.release_color(span.trying)
        axes.broken_barh(where, (level + 0.12, 0.24), facecolors=trying, linewidth=0)


@canvas.styled
def drift(facts: Facts) -> str:
    """Per group the index of every feature over time, the worst one in its release's colour."""
    groups = sorted({point.group for point in facts.drift})
    figure, grid = canvas.draw(1.9 * len(groups) + 0.2, len(groups), 1, sharex=True, sharey=True)
    for axes, group in zip(grid[:, 0], groups, strict=True):
        own = [point for point in facts.drift if point.group == group]
        for version in sorted({point.version for point in own}):
            _indices(axes, [p for p in own if p.version == version], facts.began)
        _legend(axes)
        axes.axhline(facts.limit, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.annotate(
            f"limit {facts.limit:g}",
            (1, facts.limit),
            ha="right",
            va="bottom",
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=MUTED,
        )
        _triggers(axes, [t for t in facts.triggers if t.group == group], facts)
        axes.set_yscale("log")
        axes.set_title(group)
        axes.set_ylabel("psi")
        canvas.time_axis(axes, facts.began, facts.ended)
    lowest, highest = grid[0][0].get_ylim()
    grid[0][0].set_ylim(lowest, highest * HEADROOM)
    _plain_numbers(grid[0][0])
    return canvas.svg(figure, "drift", "Drift of each group's inputs over time")


def _indices(axes: Axes, points: Sequence[DriftPoint], began: float) -> None:
    times = [point.time - began for point in points]
    for feature in sorted({name for point in points for name in point.psi}):
        values = [max(point.psi.get(feature, 0.0), LEAST_PSI) for point in points]
        axes.plot(times, values, color=MUTED, linewidth=0.7, alpha=0.45)
    worst = [max(point.psi[point.worst], LEAST_PSI) for point in points]
    color = canvas.release_color(points[0].version)
    axes.plot(times, worst, "-o", color=color, markersize=2.6, label=f"release {points[0].version}")


def _legend(axes: Axes) -> None:
    """Beside the panel's title, where it covers nothing."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, borderaxespad=0.1)


def _plain_numbers(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _triggers(axes: Axes, triggers: Sequence[Trigger], facts: Facts) -> None:
    """A line where a trigger was alarmed or fired, each word in a row of its own."""
    for row, (action, color) in enumerate((("alarm", MUTED), ("fired", BAD))):
        for one in (trigger for trigger in triggers if trigger.action == action):
            x = one.time - facts.began
            late = x > 0.9 * (facts.ended - facts.began)
            axes.axvline(x, color=color, linewidth=1)
            axes.annotate(
                action,
                (x, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-3 if late else 3, -2 - 11 * row),
                textcoords="offset points",
                ha="right" if late else "left",
                va="top",
                fontsize=8,
                color=color,
                bbox=UNDER,
            )


@canvas.styled
def quality(facts: Facts) -> str:
    """Per group the mean quality of confirmed answers, with its 95 % interval."""
    groups = sorted({point.group for point in facts.quality})
    figure, grid = canvas.draw(1.7 * len(groups) + 0.2, len(groups), 1, sharex=True, sharey=True)
    for axes, group in zip(grid[:, 0], groups, strict=True):
        own = [point for point in facts.quality if point.group == group]
        for version in sorted({point.version for point in own}):
            _shares(axes, [p for p in own if p.version == version], facts.began)
        _switches(axes, [lane for lane in facts.lanes if lane.group == group], facts.began)
        axes.set_title(group)
        _legend(axes)
        canvas.time_axis(axes, facts.began, facts.ended)
    grid[0][0].set_ylim(top=1.01)
    title = f"{facts.measure[0].upper()}{facts.measure[1:]} of confirmed answers of each group"
    return canvas.svg(figure, "quality", f"{title} over time")


def _shares(axes: Axes, points: Sequence[QualityPoint], began: float) -> None:
    times = [point.time - began for point in points]
    color = canvas.release_color(points[0].version)
    bands = [wilson(point.quality / point.confirmed, point.confirmed) for point in points]
    axes.fill_between(
        times,
        [low for low, _ in bands],
        [high for _, high in bands],
        color=color,
        alpha=0.16,
        linewidth=0,
    )
    shares = [point.quality / point.confirmed for point in points]
    axes.plot(
        times, shares, "-o", color=color, markersize=2.6, label=f"release {points[0].version}"
    )


def _switches(axes: Axes, lanes: Sequence[Lane], began: float) -> None:
    """A band from the first to the last device of a group that took over a release."""
    times: dict[int, list[float]] = {}
    for lane in lanes:
        for before, span in pairwise(lane.spans):
            if before.running is not None and span.running not in {None, before.running}:
                times.setdefault(span.running or 0, []).append(span.began - began)
    for version, some in times.items():
        color = canvas.release_color(version)
        axes.axvspan(min(some), max(some), color=color, alpha=0.1, linewidth=0)
        axes.axvline(min(some), color=color, linewidth=1, linestyle=(0, (2, 2)))


@canvas.styled
def lineage(nodes: Sequence[Node]) -> str:
    """Boxes from data (above) to the newest release, without arrows that follow from others."""
    from matplotlib.patches import FancyArrowPatch

    placed = graph.place(graph.reduced({node.id: node.parents for node in nodes}))
    xs = [x for x, _ in placed.boxes.values()]
    rows = max(y for _, y in placed.boxes.values()) + 1
    figure, grid = canvas.draw(0.72 * rows + 0.2)
    axes = grid[0][0]
    for points in placed.arrows:
        path = _bent(points)
        axes.add_patch(
            FancyArrowPatch(
                path=path, arrowstyle="-|>", color=MUTED, linewidth=0.9, mutation_scale=8
            )
        )
    for node in nodes:
        _box(axes, node, *placed.boxes[node.id])
    width = max(max(xs) - min(xs) + 1.1, 4.2)
    middle = (max(xs) + min(xs)) / 2
    axes.set(xlim=(middle - width / 2, middle + width / 2), ylim=(rows - 0.55, -0.45))
    axes.set_axis_off()
    return canvas.svg(figure, "lineage", "What the newest release was made from")


def _bent(points: Sequence[graph.Point]) -> Path:
    """From a box's lower edge by the points between to the next one's upper edge, in curves."""
    from matplotlib.path import Path

    ways = [
        (points[0][0], points[0][1] + 0.26),
        *points[1:-1],
        (points[-1][0], points[-1][1] - 0.27),
    ]
    vertices, codes = [ways[0]], [Path.MOVETO]
    for (x, y), (to_x, to_y) in pairwise(ways):
        half = (to_y - y) / 2
        vertices += [(x, y + half), (to_x, to_y - half), (to_x, to_y)]
        codes += [Path.CURVE4] * 3
    return Path(vertices, codes)


def _box(axes: Axes, node: Node, x: float, y: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    edge = canvas.release_color(node.release) if node.release else GRID
    axes.add_patch(
        FancyBboxPatch(
            (x - 0.4, y - 0.22),
            0.8,
            0.44,
            boxstyle="round,pad=0.03,rounding_size=0.06",
            facecolor=SOFT if node.release is None else PAPER,
            edgecolor=edge,
            linewidth=2.2 if node.release else 0.8,
        )
    )
    shift = 0.09 if node.detail else 0.0
    axes.text(
        x,
        y - shift,
        node.title,
        ha="center",
        va="center",
        fontsize=8.5,
        fontweight="bold" if node.release else "normal",
    )
    axes.text(x, y + shift + 0.02, node.detail, ha="center", va="center", fontsize=7, color=MUTED)


@canvas.styled
def sent(facts: Facts, devices: Sequence[str]) -> str:
    """Bytes that each device fetched, by release."""
    figure, grid = canvas.draw(0.24 * len(devices) + 0.8)
    axes = grid[0][0]
    versions = sorted({one.version for one in facts.sent}, key=lambda v: (v is None, v or 0))
    left = dict.fromkeys(devices, 0.0)
    for version in versions:
        kilo = {s.device: s.bytes / 1000 for s in facts.sent if s.version == version}
        values = [kilo.get(device, 0.0) for device in devices]
        label = "signed metadata" if version is None else f"release {version}"
        axes.barh(
            list(devices),
            values,
            left=list(left.values()),
            height=0.7,
            label=label,
            color=IDLE if version is None else canvas.release_color(version),
        )
        left = {device: left[device] + kilo.get(device, 0.0) for device in devices}
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("kB fetched")
    axes.legend(loc="upper left", ncols=4, bbox_to_anchor=(0, 1.0), borderaxespad=-1.6)
    return canvas.svg(figure, "sent", "Bytes that each device fetched, by release")
