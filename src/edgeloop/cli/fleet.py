"""``fleet``: start and stop a control plane on this machine, enrolment tokens, audit log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.amounts import number
from edgeloop.cli.connect import FLEET, FleetOption, connect
from edgeloop.cli.device_table import COLUMNS, in_order, row, whole
from edgeloop.cli.factory import factories
from edgeloop.cli.invitations import about, write
from edgeloop.cli.labels import told_labels
from edgeloop.cli.output import Format, FormatOption, fields, many, show, table
from edgeloop.fleet.clients import Clients

if TYPE_CHECKING:
    from edgeloop.fleet.client import FleetClient
    from edgeloop.fleet.views import AuditLine

fleets = typer.Typer(
    help="The control plane: up, stop, status, tokens, audit.", no_args_is_help=True
)
TLS = "https, which is what a new folder begins with; --no-tls for a terminator in front."
CLIENTS = "Certificates of TLS for devices, beside their signatures: given by the control plane."
TLS_NAME = "One more DNS name or address by which devices ask; it stays in the certificate."
INVITATION = "Write all that a device needs to this file: server, token, model, root, authority."
LONGEST = 87_600  # hours that a token can be used: ten years
Folder = Annotated[Path, typer.Option("--folder", help="Database, operator token, logs.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    fleets.add_typer(factories, name="factory")
    app.add_typer(fleets, name="fleet")


@fleets.command()
def up(
    folder: Folder = Path(FLEET),
    loop: Annotated[
        Path, typer.Option(help="The loop file, which names repository and store.")
    ] = Path("loop.yaml"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 0,
    tls: Annotated[
        bool | None, typer.Option("--tls/--no-tls", help=TLS, show_default=False)
    ] = None,
    tls_name: Annotated[list[str] | None, typer.Option(help=TLS_NAME)] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="A certificate of your own, a chain in PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Its private key, where that is in another file.")
    ] = None,
    client_certificates: Annotated[Clients, typer.Option(help=CLIENTS)] = Clients.OFF,
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
    from edgeloop.fleet.settings import Settings, Tls
    from edgeloop.loop.file import load_loop

    checked = load_loop(loop)
    own = Tls(cert=tls_cert, key=tls_key, names=tuple(tls_name or ()), clients=client_certificates)
    settings = Settings(
        folder=folder,
        repository=checked.path(checked.settings.release.repository),
        layout=checked.path(checked.settings.store),
        database=database,
        host=host,
        port=port,
        poll_seconds=poll,
    )
    if tls_cert or (not settings.began_with_http if tls is None else tls):
        settings = replace(settings, tls=own)
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
    invitation: Annotated[Path | None, typer.Option(help=INVITATION)] = None,
    server: Annotated[
        str, typer.Option(help="With --invitation: address by which the device asks, if another.")
    ] = "",
    loop: Annotated[
        Path, typer.Option(help="With --invitation: names the repository, and the model.")
    ] = Path("loop.yaml"),
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a one-time enrolment token, or an invitation: one file with all that a device needs."""
    labels = told_labels(label or [])  # looked at before anybody is asked
    client = connect(fleet)
    told_by = about(client, loop, server) if invitation else {}
    made = client.create_token(labels, hours * 3600, model=model, channel=channel)
    if invitation is None:
        show(made.model_dump(), form, made.token)
        return
    write(told_by, made, model, channel, invitation)
    told = {"invitation": str(invitation), "expires": made.expires}
    show(told, form, f"{invitation} is for one device; bring it there by a way that you trust")


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
