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
    loop: Annotated[
        Path | None,
        typer.Argument(help="The loop file; loop.yaml where there is one.", show_default=False),
    ] = None,
    need: Annotated[
        list[str] | None,
        typer.Option(help="An extra that must be there, like server; may be given again."),
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Look at Python, free space, the extras, and all that the loop file names.

    Exit code 8 when something that is needed is missing. A missing extra is told and is no fault
    unless --need or a loop file asks for it. Nothing is run, made or fetched.
    """
    from edgeloop.loop.ground import examine

    found = examine(Path(), loop, tuple(need or ()))
    rows = [
        {
            "what": one.name,
            "good": "yes" if one.good else "no" if one.needed else "no, and not needed",
            "found": one.found,
            "what_to_do": "" if one.good else one.todo,
        }
        for one in found
    ]
    table(rows, ("what", "good", "found", "what_to_do"), form)
    if not all(one.good for one in found if one.needed):
        raise typer.Exit(8)
