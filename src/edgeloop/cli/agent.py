"""``agent``: make a folder a device, run its agent, answer a batch, see what it does.

A device needs only the base package: there the same are ``python -m edgeloop.agent``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.cli.output import Format, FormatOption, show

agents = typer.Typer(
    help="The program on a device: enrol, run, batch, status.", no_args_is_help=True
)
TARGET = (
    "Class of devices that this one belongs to, a free name such as linux-x86: a release that"
    " names targets goes to devices of those alone; auto takes this system and processor."
)
PUBLIC = (
    "Let --listen be any address of this machine, such as 0.0.0.0:8080: whoever reaches it may ask,"
    " so that TLS and authentication belong to a proxy in front."
)
INVITATION = "File with all of server, token, model, channel, root and ca, by `fleet token`."
AUTHORITY = "File that vouches for the control plane, its ca.pem; the system's where there is none."
MIRROR = (
    "Where files are looked for before the control plane is asked: a web folder"
    " (https://host/folder), a registry (oci+https://host/name), or file:///folder."
)
KEY = "Where the key lives: file: is the folder, pkcs11:... (RFC 7512) a TPM or secure element."
NEW_KEY = "Take another key than before, as a device that was revoked must."
FACTORY = "Folder with factory.json, certificate.pem and key.pem, as the device left its maker."
CONDITION = (
    "name=value, each: hours=22:00-04:00,12:00-13:00 days=sat,sun download='any time' charging=true"
    " metered=false battery=30 temperature=60 bandwidth='50 kB' time_zone=Europe/Rome. Nothing"
    " behind = takes it away."
)
WAIT = "Most seconds for the control plane and for an update, before the rows are answered."
Folder = Annotated[Path, typer.Argument(help="The device's folder.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(agents, name="agent")


@agents.command()
def enrol(
    folder: Folder,
    invitation: Annotated[Path | None, typer.Option(help=INVITATION)] = None,
    server: Annotated[str, typer.Option(help="Base address of the control plane.")] = "",
    token: Annotated[str, typer.Option(help="One-time token of an operator.")] = "",
    model: Annotated[str, typer.Option(help="Name of the model that the device runs.")] = "",
    root: Annotated[
        Path | None, typer.Option(help="First root metadata, brought by a trusted way.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help=AUTHORITY)] = None,
    name: Annotated[str, typer.Option(help="Name in the fleet; the folder's by default.")] = "",
    channel: Annotated[str, typer.Option(help="Of the model; stable by default.")] = "",
    mirror: Annotated[list[str] | None, typer.Option(help=MIRROR)] = None,
    target: Annotated[str, typer.Option(help=TARGET)] = "auto",
    label: Annotated[list[str] | None, typer.Option(help="name=value")] = None,
    listen: Annotated[
        str, typer.Option(help="Loopback address for applications, or unix:/path.")
    ] = "",
    opt_in: Annotated[
        bool, typer.Option("--opt-in", help="Let confirmed inputs leave the device when asked.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="That one answer may use.")] = 1,
    key: Annotated[str, typer.Option(help=KEY)] = "file:",
    new_key: Annotated[bool, typer.Option("--new-key", help=NEW_KEY)] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a folder a device of a control plane."""
    from edgeloop.agent import enrolment, settings
    from edgeloop.agent.invitation import told as whole

    said = {"server": server, "token": token, "model": model, "channel": channel}
    made = enrolment.enrol(
        folder,
        name=name or folder.resolve().name,
        target=target,
        labels=settings.labels(label or []),
        listen=listen,
        opt_in=opt_in,
        threads=threads,
        key=key,
        new_key=new_key,
        mirrors=tuple(mirror or ()),
        **whole(invitation, root=root, ca=ca, **said),
    )
    told = {"device": made.device, "name": made.name, "target": made.target}
    show(told, form, f"{made.name} is device {made.device} ({made.target})")


@agents.command()
def claim(
    folder: Folder,
    factory: Annotated[Path, typer.Option(help=FACTORY)],
    label: Annotated[list[str] | None, typer.Option(help="name=value")] = None,
    key: Annotated[str, typer.Option(help=KEY)] = "file:",
    new_key: Annotated[bool, typer.Option("--new-key", help=NEW_KEY)] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a folder a device by the certificate that its factory gave it."""
    from edgeloop.agent import claiming, settings

    labels = settings.labels(label or [])
    made = claiming.claim(folder, factory, labels=labels, key=key, new_key=new_key)
    told = {"device": made.device, "name": made.name, "model": made.model, "target": made.target}
    show(told, form, f"{made.name} is device {made.device}, and follows {made.model}")


@agents.command("rotate-key")
def rotate_key(folder: Folder, form: FormatOption = Format.TEXT) -> None:
    """Give a device whose agent does not run a new key; the old one is none then."""
    from edgeloop.agent import rotate_key

    made = rotate_key.of_folder(folder)
    show({"key": made}, form, f"the device's key is {made} from now on")


@agents.command()
def postpone(
    folder: Folder,
    seconds: Annotated[float, typer.Argument(min=0, help="From now; 0 is now after all.")],
    form: FormatOption = Format.TEXT,
) -> None:
    """Say "not now" to the update that is on its way, as far as its release allows."""
    from edgeloop.agent import owner
    from edgeloop.clock import SystemClock

    told = owner.postpone(folder, seconds, SystemClock())
    show(told, form, f"release {told['version']} waits for {seconds:g} s")


@agents.command()
def retry(folder: Folder, form: FormatOption = Format.TEXT) -> None:
    """Let the device try again what failed, and rest no longer."""
    from edgeloop.agent import owner

    told = owner.retry(folder)
    tried = ", ".join(told["tries_again"]) or "nothing: no release failed here"
    show(told, form, f"tries again: {tried}")


@agents.command()
def conditions(
    folder: Folder,
    condition: Annotated[list[str] | None, typer.Argument(help=CONDITION)] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show, or change, when this device takes an update up, beside what a release asks.

    A running agent heeds it at once.
    """
    import yaml

    from edgeloop.agent import owner

    told = owner.conditions(folder, condition or ())
    shown = yaml.safe_dump(told, sort_keys=False).rstrip() if told else "no conditions of its own"
    show(told, form, shown)


@agents.command()
def run(
    folder: Folder,
    listen: Annotated[str, typer.Option(help="In place of the enrolled address.")] = "",
    public: Annotated[bool, typer.Option("--public", help=PUBLIC)] = False,
) -> None:
    """Run the agent until it is ended."""
    from edgeloop.agent.__main__ import main

    told = ["--folder", str(folder), "--listen", listen, *(["--public"] if public else [])]
    raise typer.Exit(main(["run", *told]))


@agents.command()
def batch(
    rows: Annotated[Path, typer.Argument(help="Folder of images, .jsonl or .npz file.")],
    folder: Annotated[Path, typer.Option(help="The device's folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the answers, not there yet.")],
    wait: Annotated[float, typer.Option(min=0, help=WAIT)] = 60.0,
) -> None:
    """Answer every row of a folder or file with the release in charge, then end.

    One JSON line per row, in order, in a file that is there when all are answered. Run again after
    it was ended, it goes on behind the last answer.
    """
    from edgeloop.agent.__main__ import main

    told = ["--folder", str(folder), str(rows), "--out", str(out), "--wait", str(wait)]
    raise typer.Exit(main(["batch", *told]))


@agents.command()
def status(folder: Folder, form: FormatOption = Format.TEXT) -> None:
    """Tell what a device's folder says, and whether an agent runs in it now."""
    import yaml

    from edgeloop.agent.__main__ import status as said

    told = said(folder)
    show(told, form, yaml.safe_dump(told, sort_keys=False).rstrip())
