"""``fleet``: start and stop a control plane on this machine, enrolment tokens, audit log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.amounts import number
from edgeloop.cli.connect import FLEET, FleetOption, connect
from edgeloop.cli.device_table import COLUMNS, in_order, row, whole
from edgeloop.cli.output import Format, FormatOption, fields, many, show, table

if TYPE_CHECKING:
    from edgeloop.fleet.client import FleetClient
    from edgeloop.fleet.views import AuditLine

fleets = typer.Typer(
    help="The control plane: up, stop, status, tokens, audit.", no_args_is_help=True
)
LONGEST = 87_600  # hours that a token can be used: ten years
Folder = Annotated[Path, typer.Option("--folder", help="Database, operator token, logs.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(fleets, name="fleet")


@fleets.command()
def up(
    folder: Folder = Path(FLEET),
    loop: Annotated[
        Path, typer.Option(help="The loop file, which names repository and store.")
    ] = Path("loop.yaml"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 0,
    poll: Annotated[
        float,
        typer.Option(
            min=0.1, max=3600, callback=number, help="Seconds between two polls of a device."
        ),
    ] = 5.0,
    database: Annotated[
        str,
        typer.Option(
            envvar="EDGELOOP_DATABASE",
            help="postgresql+psycopg://... (extra `postgres`); without it SQLite in the folder.",
        ),
    ] = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Start a control plane in the background; twice is once."""
    from edgeloop.fleet.process import start
    from edgeloop.fleet.settings import Settings
    from edgeloop.loop.file import load_loop

    checked = load_loop(loop)
    settings = Settings(
        folder=folder,
        repository=checked.path(checked.settings.release.repository),
        layout=checked.path(checked.settings.store),
        database=database,
        port=port,
        poll_seconds=poll,
    )
    running = start(settings)
    show(running, form, f"control plane at {running['url']} (pid {running['pid']})")


@fleets.command()
def stop(folder: Folder = Path(FLEET), form: FormatOption = Format.TEXT) -> None:
    """End the control plane that `fleet up` started; devices go on answering."""
    from edgeloop.fleet.process import stop as end

    ended = end(folder)
    show({"stopped": ended}, form, "stopped" if ended else "nothing was running")


@fleets.command()
def status(
    everything: Annotated[
        bool, typer.Option("--all", help="Decommissioned devices too; JSON always has them.")
    ] = False,
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Whether the control plane answers, and what its devices run, by labels and name."""
    client = connect(fleet)
    health = client.health()
    devices = in_order(client.devices())
    if form is Format.JSON:
        told = [whole(device, health.time) for device in devices]
        show({"url": client.url, "health": health.model_dump(), "devices": told}, form, "")
        return
    serving = [device for device in devices if not device.decommissioned]
    gone = len(devices) - len(serving)
    more = f", {gone} decommissioned" + ("" if everything else " (shown with --all)")
    line = f"{client.url}: {health.status}, {many(len(serving), 'device')}"
    show(None, form, line + (more if gone else ""))
    shown = devices if everything else serving
    table([row(device, health.time) for device in shown], COLUMNS, form, "no devices yet")


@fleets.command()
def token(
    label: Annotated[list[str] | None, typer.Option(help="name=value, set on the device.")] = None,
    hours: Annotated[
        float,
        typer.Option(min=0.001, max=LONGEST, callback=number, help="How long it can be used."),
    ] = 24.0,
    model: Annotated[
        str | None,
        typer.Option(help="For a device of this model alone; an older agent is told it this way."),
    ] = None,
    channel: Annotated[str, typer.Option(help="Of the model.")] = "stable",
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a one-time enrolment token."""
    labels = _told_labels(label or [])  # looked at before anybody is asked
    made = connect(fleet).create_token(labels, hours * 3600, model=model, channel=channel)
    show(made.model_dump(), form, made.token)


@fleets.command()
def audit(
    after: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Only lines behind this one.")
    ] = 0,
    last: Annotated[
        int | None, typer.Option(min=1, max=5000, help="Only the newest so many lines.")
    ] = None,
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print the append-only log: who did what, to what, when. JSON has every detail whole."""
    rows = [line.model_dump() for line in _lines(connect(fleet), after, last)]
    if form is Format.TEXT:
        rows = [{**row, "detail": fields(row["detail"])} for row in rows]
    table(rows, ("id", "time", "actor", "action", "subject", "detail"), form, "nothing yet")


def _lines(client: FleetClient, after: int, last: int | None) -> Iterable[AuditLine]:
    return client.audit(after) if last is None else client.newest_audit(last, after)


def _told_labels(texts: Sequence[str]) -> dict[str, str]:
    from pydantic import TypeAdapter, ValidationError

    from edgeloop.agent.settings import labels
    from edgeloop.errors import OverrideError
    from edgeloop.protocol.messages import Labels

    told = labels(texts)
    try:
        return TypeAdapter(Labels).validate_python(told)
    except ValidationError as error:
        raise OverrideError(
            "--label",
            "must be name=value: up to 64 of A-Z a-z 0-9 . _ -, and up to 128 without , and =",
            got=", ".join(ascii(text) for text in texts)[:200],
        ) from error
