"""``fleet``: start and stop a control plane on this machine, enrolment tokens, audit log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.connect import FLEET, FleetOption, connect
from edgeloop.cli.output import Format, FormatOption, show, table

if TYPE_CHECKING:
    from edgeloop.fleet.views import DeviceView

fleets = typer.Typer(
    help="The control plane: up, stop, status, tokens, audit.", no_args_is_help=True
)
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
    port: Annotated[int, typer.Option(help="0 takes any free one.")] = 0,
    poll: Annotated[float, typer.Option(help="Seconds between two polls of a device.")] = 5.0,
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
def status(fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Whether the control plane answers, and what its devices run."""
    client = connect(fleet)
    health = client.health()
    rows = [_running(device) for device in client.devices()]
    if form is Format.JSON:
        show({"url": client.url, "health": health.model_dump(), "devices": rows}, form, "")
        return
    show(None, form, f"{client.url}: {health.status}, {len(rows)} devices")
    table(rows, ("name", "labels", "state", "version", "answers"), form, "no devices yet")


@fleets.command()
def token(
    label: Annotated[list[str] | None, typer.Option(help="name=value, set on the device.")] = None,
    hours: Annotated[float, typer.Option(help="How long the token can be used.")] = 24.0,
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a one-time enrolment token."""
    from edgeloop.agent.settings import labels

    told = labels(label or [])
    made = connect(fleet).create_token(told, hours * 3600)
    show(made.model_dump(), form, made.token)


@fleets.command()
def audit(
    after: Annotated[int, typer.Option(help="Only lines behind this one.")] = 0,
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print the append-only log: who did what, to what, when."""
    rows = [line.model_dump() for line in connect(fleet).audit(after)]
    table(rows, ("id", "time", "actor", "action", "subject"), form, "nothing yet")


def _running(device: DeviceView) -> dict[str, object]:
    report = device.report
    running = report.running if report else None
    return {
        "name": device.name,
        "id": device.id,
        "labels": ",".join(f"{k}={v}" for k, v in sorted(device.labels.items())),
        "state": device.state or "silent",
        "version": running.version if running else None,
        "answers": report.answers_since_switch if report else 0,
    }
