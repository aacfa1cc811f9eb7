"""``report``: what happened in a loop, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.cli.connect import TOKEN_VARIABLE, connect
from edgeloop.cli.output import Format, FormatOption, show

LOG = "blobs.jsonl"  # where a control plane of this machine keeps its blob log, in its folder


def add_to(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(report)


def report(
    loop: Annotated[Path, typer.Option("--loop", help="The loop file.")] = Path("loop.yaml"),
    fleet: Annotated[
        str | None,
        typer.Option(
            "--fleet",
            envvar="EDGELOOP_FLEET",
            help=f"Folder or URL of a control plane (token in {TOKEN_VARIABLE}); without it, the"
            " store alone is told.",
        ),
    ] = None,
    blob_log: Annotated[
        Path | None,
        typer.Option(help="The blob server's log; found by itself in a folder of --fleet."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "report.html"
    ),
    form: FormatOption = Format.TEXT,
) -> None:
    """Write one self-contained HTML file: checks, training, rollouts, drift, quality, lineage."""
    from edgeloop.loop.file import load_loop
    from edgeloop.loop.report import write_report
    from edgeloop.store.artifacts import Store

    checked = load_loop(loop)
    facts = write_report(
        checked,
        Store(checked.path(checked.settings.store)),
        output,
        fleet=None if fleet is None else connect(fleet),
        blob_log=blob_log or _log_of(fleet),
    )
    told = {"report": str(output), "releases": len(facts.releases), "devices": len(facts.lanes)}
    show(told, form, f"wrote {output}")


def _log_of(fleet: str | None) -> Path | None:
    found = Path(fleet, LOG) if fleet else None
    return found if found is not None and found.is_file() else None
