"""How results are printed: a table or sentences for people, one JSON value for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

SHORT, DIGEST_SHORT = 60, 20  # characters of a value in a line of ``key=value``
PIPED_WIDTH = 1000  # columns: no digest is broken over lines where no terminal is


class Format(StrEnum):
    """What ``--format`` takes."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.")]


def show(value: Any, form: Format, text: str) -> None:
    """Print ``value`` as JSON, or ``text``."""
    if form is Format.JSON:
        sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")
    else:
        sys.stdout.write(text + "\n")


def table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: Format, empty: str = "nothing"
) -> None:
    """Print rows as a table of ``columns``, or as a JSON list with every field."""
    if form is Format.JSON:
        show(list(rows), form, "")
    elif not rows:
        sys.stdout.write(empty + "\n")
    else:
        _print_table(rows, columns)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as indented lines whose columns stand below each other."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    lines = [
        "  ".join(["", *(cell.ljust(width) for cell, width in zip(row, widths, strict=False))])
        + f"  {row[-1]}"
        for row in rows
    ]
    return [line.rstrip() for line in lines]


def ago(seconds: float) -> str:
    """A time that has passed, in the unit that a person would say it in: ``12 s ago``."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def many(count: int, thing: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def fields(values: Mapping[str, Any]) -> str:
    """``key=value`` of each, shortly: long values end in ``…``, and the whole is in the JSON."""
    return " ".join(f"{key}={_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    is_word = isinstance(value, str) and value.isprintable() and " " not in value
    text = value if is_word else json.dumps(value, default=str, ensure_ascii=False)
    most = DIGEST_SHORT if text.startswith("sha256:") else SHORT
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    piped = not sys.stdout.isatty()
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column.replace("_", " "), overflow="fold", no_wrap=piped)
    for row in rows:
        grid.add_row(*(_cell(column, row.get(column)) for column in columns))
    Console(width=PIPED_WIDTH if piped else None).print(grid)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column == "time":
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
