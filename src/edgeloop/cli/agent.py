"""``agent``: make a folder a device, run its agent, see what it does.

A device needs only the base package: there the same three are ``python -m edgeloop.agent``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.cli.output import Format, FormatOption, show

agents = typer.Typer(help="The program on a device: enrol, run, status.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="The device's folder.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(agents, name="agent")


@agents.command()
def enrol(
    folder: Folder,
    server: Annotated[str, typer.Option(help="Base address of the control plane.")],
    token: Annotated[str, typer.Option(help="One-time token of an operator.")],
    model: Annotated[str, typer.Option(help="Name of the model that the device runs.")],
    root: Annotated[Path, typer.Option(help="First root metadata, brought by a trusted way.")],
    name: Annotated[str, typer.Option(help="Name in the fleet; the folder's by default.")] = "",
    channel: Annotated[str, typer.Option()] = "stable",
    target: Annotated[str, typer.Option(help="Class of devices; auto looks.")] = "auto",
    label: Annotated[list[str] | None, typer.Option(help="name=value")] = None,
    listen: Annotated[str, typer.Option(help="Loopback address for applications.")] = "",
    opt_in: Annotated[
        bool, typer.Option("--opt-in", help="Let confirmed inputs leave the device when asked.")
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a folder a device of a control plane."""
    from edgeloop.agent import settings

    made = settings.enrol(
        folder,
        server=server,
        token=token,
        name=name or folder.resolve().name,
        model=model,
        root=root.read_bytes(),
        channel=channel,
        target=target,
        labels=settings.labels(label or []),
        listen=listen,
        opt_in=opt_in,
    )
    told = {"device": made.device, "name": made.name, "target": made.target}
    show(told, form, f"{made.name} is device {made.device} ({made.target})")


@agents.command()
def run(folder: Folder, listen: Annotated[str, typer.Option()] = "") -> None:
    """Run the agent until it is ended."""
    from edgeloop.agent.__main__ import main

    raise typer.Exit(main(["run", "--folder", str(folder), "--listen", listen]))


@agents.command()
def status(folder: Folder, form: FormatOption = Format.TEXT) -> None:
    """Tell what a device's folder says, whether its agent runs or not."""
    import yaml

    from edgeloop.agent.__main__ import status as said

    told = said(folder)
    show(told, form, yaml.safe_dump(told, sort_keys=False).rstrip())
