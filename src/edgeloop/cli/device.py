"""``device``: the devices of a model, and what operators do to one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.amounts import number
from edgeloop.cli.connect import FLEET, FleetOption, connect
from edgeloop.cli.device_table import COLUMNS, in_order, row, whole
from edgeloop.cli.invitations import about, write
from edgeloop.cli.output import Format, FormatOption, show, table

if TYPE_CHECKING:
    from edgeloop.fleet.views import DeviceView

devices = typer.Typer(
    help="Devices: list, show, hold, pin, keys, decommission.", no_args_is_help=True
)
INVITATION = "Write all that the device needs to this file: server, token, model, root, authority."
LONGEST = 87_600  # hours that a token can be used: ten years
Device = Annotated[str, typer.Argument(help="The device's name or id.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(devices, name="device")


@devices.command("list")
def listed(
    model: Annotated[str, typer.Option(help="Only devices of this model.")] = "",
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """List devices by labels and name, decommissioned ones last."""
    client = connect(fleet)
    now = client.health().time
    told = row if form is Format.TEXT else whole
    rows = [told(device, now) for device in in_order(client.devices(model))]
    table(rows, COLUMNS, form, f"no devices of {model}" if model else "no devices yet")


@devices.command("show")
def show_device(
    device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT
) -> None:
    """Show a device and what it says of itself."""
    import yaml

    told = connect(fleet).device(device).model_dump(mode="json")
    show(told, form, yaml.safe_dump(told, sort_keys=False).rstrip())


@devices.command()
def hold(device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Let no rollout select this device."""
    _say(connect(fleet).hold(device), form, "is on hold: no rollout selects it")


@devices.command()
def unhold(device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Let rollouts select this device again."""
    _say(connect(fleet).release_hold(device), form, "is not on hold: rollouts may select it")


@devices.command()
def pin(
    device: Device,
    version: Annotated[int, typer.Argument(min=1, help="The release to stay on.")],
    loop: Annotated[Path, typer.Option(help="The loop file.")] = Path("loop.yaml"),
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Keep a device on one listed release, whatever rollouts say."""
    from edgeloop.loop.file import load_loop

    checked = load_loop(loop)
    channel = checked.settings.release.channel
    view = connect(fleet).pin(device, checked.name, channel, version)
    digest = f" ({view.pinned.digest})" if view.pinned else ""
    _say(view, form, f"is pinned to {channel}/{checked.name} {version}{digest}")


@devices.command()
def unpin(device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Let a pinned device follow rollouts again."""
    _say(connect(fleet).unpin(device), form, "is not pinned: it follows rollouts")


@devices.command()
def decommission(
    device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT
) -> None:
    """Listen to a device no more, for ever. The device goes on answering by itself."""
    view = connect(fleet).decommission(device)
    _say(view, form, "is decommissioned, for ever: it goes on answering, and nobody listens")


@devices.command()
def rotate(device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Let a device make itself a new key, when it asks next."""
    _say(connect(fleet).rotate(device), form, "is to make itself a new key")


@devices.command()
def revoke(device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Refuse all that a device says, until it is enrolled again. It goes on answering."""
    view = connect(fleet).revoke(device)
    _say(view, form, "is revoked: nobody listens to it until it is enrolled again")


@devices.command("release-claim")
def release_claim(
    device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT
) -> None:
    """Let the device's serial number be claimed once more, by its factory certificate."""
    _say(connect(fleet).release_claim(device), form, "may claim once more, with another key")


@devices.command("re-enrol")
def re_enrol(
    device: Device,
    hours: Annotated[
        float,
        typer.Option(min=0.001, max=LONGEST, callback=number, help="How long it can be used."),
    ] = 24.0,
    invitation: Annotated[Path | None, typer.Option(help=INVITATION)] = None,
    server: Annotated[
        str, typer.Option(help="With --invitation: address by which the device asks, if another.")
    ] = "",
    loop: Annotated[Path, typer.Option(help="With --invitation: names the repository.")] = Path(
        "loop.yaml"
    ),
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a one-time token with which this very device enrols again and keeps its history."""
    client = connect(fleet)
    view, told_by = client.device(device), about(client, loop, server) if invitation else {}
    made = client.create_token(valid_seconds=hours * 3600, renews=view.id)
    if invitation is None:
        show(made.model_dump(), form, made.token)
        return
    write(told_by, made, view.model, view.channel or "stable", invitation)
    told = {"invitation": str(invitation), "expires": made.expires}
    show(told, form, f"{invitation} is for {view.name} alone; bring it there by a trusted way")


def _say(view: DeviceView, form: Format, changed: str) -> None:
    show(view.model_dump(mode="json"), form, f"{view.name} {changed}")
