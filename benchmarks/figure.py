"""What a benchmark gives: figures with their targets, and how a script hands them over."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeAlias

NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure in words, beside its target.

    ``met`` is None where there is no target, or where nothing was measured; ``reason`` then says
    why, as it does for a miss. ``parts`` are lines that tell what the value is made of.
    """

    what: str
    value: str
    target: str = ""
    met: bool | None = None
    reason: str = ""
    parts: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One word or two."""
        if self.value == NOT_MEASURED:
            return NOT_MEASURED
        return {True: "met", False: "missed", None: "printed"}[self.met]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one script measured. ``samples`` are the single readings behind it, by name.

    ``table`` is Markdown, line by line, that the page shows below the figures.
    """

    figures: tuple[Figure, ...]
    samples: Mapping[str, list[float]] = field(default_factory=dict)
    table: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        figures = (Figure(**{**f, "parts": tuple(f["parts"])}) for f in told["figures"])
        table = tuple(told.get("table", ()))
        return cls(figures=tuple(figures), samples=told["samples"], table=table)


Measure: TypeAlias = Callable[[Path], Measured]  # given a folder to work in


def not_measured(what: str, reason: str, target: str = "") -> Figure:
    """A figure that is missing, and why."""
    return Figure(what=what, value=NOT_MEASURED, target=target, reason=reason)


def told(figures: Iterable[Figure]) -> str:
    """Figures as lines for a terminal."""
    lines: list[str] = []
    for one in figures:
        target = f" (target {one.target})" if one.target else ""
        lines.append(f"{one.verdict:12} {one.what}: {one.value}{target}")
        lines += [f"{'':12}   {part}" for part in (*one.parts, one.reason) if part]
    return "\n".join(lines)


def main(about: str | None, measure: Measure) -> int:
    """Measure as a program of its own: print the figures, keep them as JSON when asked."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--work", type=Path, help="folder to share with other benchmarks")
    parser.add_argument("--json", type=Path, help="file for the figures and single readings")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="edgeloop-bench-") as folder:
        measured = measure((given.work or Path(folder)).resolve())
    print(told(measured.figures))
    if given.json:
        given.json.write_text(json.dumps(measured.to_json(), indent=1))
    return 0
