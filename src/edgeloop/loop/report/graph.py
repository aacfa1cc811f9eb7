"""Place a directed graph in layers, so that arrows run down and seldom cross.

Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures",
IEEE Trans. SMC 11(2), 1981: layers by longest path, order by barycentres, long arrows by way of
points in the layers between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8
WAYPOINT = 0.35  # room for a passing arrow, where a box takes 1

Point = tuple[float, float]
Graph = Mapping[str, Sequence[str]]  # node -> parents


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where boxes are, and through which points each arrow runs: x in boxes, y the layer."""

    boxes: Mapping[str, Point]
    arrows: tuple[tuple[Point, ...], ...]


def reduced(parents: Graph) -> dict[str, tuple[str, ...]]:
    """The same graph without the arrows that follow from others."""
    above: dict[str, set[str]] = {}

    def ancestors(node: str) -> set[str]:
        if node not in above:
            above[node] = set(parents[node]).union(*map(ancestors, parents[node]))
        return above[node]

    return {
        node: tuple(p for p in own if not any(p in ancestors(q) for q in own if q != p))
        for node, own in parents.items()
    }


def place(parents: Graph) -> Placed:
    """Boxes in layers, as low as their children allow; ``parents`` has no circle."""
    layer = _layers(parents)
    chains = [_chain(p, node, layer) for node, own in parents.items() for p in own]
    rows = _rows(layer, chains)
    up, down = _neighbours(chains)
    for sweep in range(SWEEPS):
        neighbours = up if sweep % 2 == 0 else down
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _sort(row, rows, neighbours)
    x = _columns(rows, up, down)
    level = {node: float(number) for number, row in enumerate(rows) for node in row}
    return Placed(
        boxes={node: (x[node], level[node]) for node in parents},
        arrows=tuple(tuple((x[n], level[n]) for n in chain) for chain in chains),
    )


def _layers(parents: Graph) -> dict[str, int]:
    children: dict[str, list[str]] = {node: [] for node in parents}
    for node, own in parents.items():
        for parent in own:
            children[parent].append(node)
    height: dict[str, int] = {}

    def visit(node: str) -> int:
        if node not in height:
            height[node] = 1 + max((visit(child) for child in children[node]), default=-1)
        return height[node]

    top = max((visit(node) for node in parents), default=0)
    return {node: top - height[node] for node in parents}


def _chain(parent: str, child: str, layer: Mapping[str, int]) -> tuple[str, ...]:
    between = range(layer[parent] + 1, layer[child])
    return (parent, *(f"{parent} > {child} @ {number}" for number in between), child)


def _rows(layer: Mapping[str, int], chains: Sequence[tuple[str, ...]]) -> list[list[str]]:
    rows: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node, number in layer.items():
        rows[number].append(node)
    for chain in chains:
        for number, waypoint in enumerate(chain[1:-1], start=layer[chain[0]] + 1):
            rows[number].append(waypoint)
    return rows


def _neighbours(
    chains: Sequence[tuple[str, ...]],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    up: dict[str, list[str]] = {}
    down: dict[str, list[str]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            up.setdefault(other, []).append(one)
            down.setdefault(one, []).append(other)
    return up, down


def _sort(row: list[str], rows: list[list[str]], neighbours: Mapping[str, list[str]]) -> None:
    """Order a row by where its neighbours stand in theirs."""
    place = {node: index / len(one) for one in rows for index, node in enumerate(one)}
    row.sort(key=lambda node: _mean([place[n] for n in neighbours.get(node, [node])]))


def _columns(
    rows: list[list[str]], up: Mapping[str, list[str]], down: Mapping[str, list[str]]
) -> dict[str, float]:
    """X of every node: near its neighbours, in its row's order, never over one another."""
    x = {node: 0.0 for row in rows for node in row}
    for row in rows:
        _spread(row, dict.fromkeys(row, 0.0), x)
    for sweep in range(SWEEPS):
        neighbours = up if sweep % 2 == 0 else down
        for row in rows if sweep % 2 == 0 else reversed(rows):
            want = {node: _mean([x[n] for n in neighbours.get(node, [node])]) for node in row}
            _spread(row, want, x)
    return x


def _spread(row: list[str], want: Mapping[str, float], x: dict[str, float]) -> None:
    at = 0.0
    for index, node in enumerate(row):
        if index:
            at = max(want[node], at + (_width(row[index - 1]) + _width(node)) / 2)
        else:
            at = want[node]
        x[node] = at
    push = _mean([want[node] - x[node] for node in row])
    for node in row:
        x[node] += push


def _width(node: str) -> float:
    return WAYPOINT if " @ " in node else 1.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
