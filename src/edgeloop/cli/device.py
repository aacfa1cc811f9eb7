"""``device``: what operators do to one device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.connect import FLEET, FleetOption, connect
from edgeloop.cli.output import Format, FormatOption, show

if TYPE_CHECKING:
    from edgeloop.fleet.views import DeviceView

devices = typer.Typer(help="One device: show, hold, pin, decommission.", no_args_is_help=True)
Device = Annotated[str, typer.Argument(help="The device's name or id.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(devices, name="device")


@devices.command("show")
def show_device(
    device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT
) -> None:
    """Show a device and what it says of itself."""
    _say(connect(fleet).device(device), form)


@devices.command()
def hold(device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Let no rollout select this device."""
    _say(connect(fleet).hold(device), form)


@devices.command()
def unhold(device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Let rollouts select this device again."""
    _say(connect(fleet).release_hold(device), form)


@devices.command()
def pin(
    device: Device,
    version: Annotated[int, typer.Argument(help="The release to stay on.")],
    loop: Annotated[Path, typer.Option(help="The loop file.")] = Path("loop.yaml"),
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Keep a device on one listed release, whatever rollouts say."""
    from edgeloop.loop.file import load_loop

    checked = load_loop(loop)
    channel = checked.settings.release.channel
    _say(connect(fleet).pin(device, checked.name, channel, version), form)


@devices.command()
def unpin(device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Let a pinned device follow rollouts again."""
    _say(connect(fleet).unpin(device), form)


@devices.command()
def decommission(
    device: Device, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT
) -> None:
    """Listen to a device no more, for ever. The device goes on answering by itself."""
    _say(connect(fleet).decommission(device), form)


def _say(view: DeviceView, form: Format) -> None:
    import yaml

    told = view.model_dump(mode="json")
    show(told, form, yaml.safe_dump(told, sort_keys=False).rstrip())
