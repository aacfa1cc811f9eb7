"""How results are printed: a table or sentences for people, one JSON value for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

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
