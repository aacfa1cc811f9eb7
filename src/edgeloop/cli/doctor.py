"""``doctor``: what is missing on this machine, before work starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.cli.output import Format, FormatOption, table


def add_to(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(doctor)


def doctor(
    need: Annotated[
        list[str] | None,
        typer.Option(help="Extras that must be there (device, train, server, report)."),
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Look at Python, free space and the extras. Exit code 8 when something needed is missing.

    Without --need a missing extra is told but is no fault.
    """
    from edgeloop.loop.ground import examine

    asked = {f"extra {name}" for name in need or []}
    found = examine(Path())
    rows = [
        {
            "what": n.name,
            "good": "yes" if n.good else "no",
            "found": n.found,
            "todo": "" if n.good else n.todo,
        }
        for n in found
    ]
    table(rows, ("what", "good", "found", "todo"), form)
    unknown = asked - {n.name for n in found}
    needed = [n for n in found if n.name in asked or not n.name.startswith("extra ")]
    if unknown or not all(n.good for n in needed):
        raise typer.Exit(8)
