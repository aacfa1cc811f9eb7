"""``fleet factory``: factories whose devices claim a place by certificate, and their batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.connect import FLEET, FleetOption, connect
from edgeloop.cli.invitations import about
from edgeloop.cli.labels import told_labels
from edgeloop.cli.output import Format, FormatOption, many, show, table

if TYPE_CHECKING:
    from edgeloop.fleet.views import FactoryView
    from edgeloop.types import Json

factories = typer.Typer(
    help="Factories whose devices claim a place by certificate.", no_args_is_help=True
)
AT_ONCE = 500  # lines of a request
COLUMNS = ("name", "subject", "model", "channel", "who", "listed", "claimed", "state")
Factory = Annotated[str, typer.Argument(help="The factory's name.")]
BATCH = "CSV with a header: serial, and if you like name and labels (site=north;floor=2)."


@factories.command()
def add(
    name: Factory,
    certificate: Annotated[Path, typer.Argument(help="Its authority's certificate, in PEM.")],
    model: Annotated[str, typer.Option(help="That its devices follow.")],
    channel: Annotated[str, typer.Option(help="Of the model.")] = "stable",
    label: Annotated[list[str] | None, typer.Option(help="name=value, set on each.")] = None,
    listed: Annotated[
        bool, typer.Option("--listed", help="Only serial numbers that were listed.")
    ] = False,
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Let every device with a certificate under this authority claim a place, once."""
    labels = told_labels(label or [])
    view = connect(fleet).add_factory(
        name=name,
        certificate=_text(certificate, "CERTIFICATE"),
        model=model,
        channel=channel,
        labels=labels,
        listed_only=listed,
    )
    who = "devices that are listed" if listed else "any of its devices"
    show(view.model_dump(), form, f"{name} ({view.subject}): {who} may claim {channel}/{model}")


@factories.command("list")
def listed(fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """List factories, with how many of their devices claimed."""
    table([_row(view) for view in connect(fleet).factories()], COLUMNS, form, "no factories yet")


@factories.command()
def serials(
    name: Factory,
    batch: Annotated[Path, typer.Argument(help=BATCH)],
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """List a batch: serial numbers that may claim, with the names and labels they get."""
    lines = list(_lines(batch))  # looked at before anybody is asked
    client, view = connect(fleet), None
    for first in range(0, len(lines), AT_ONCE):
        view = client.list_serials(name, lines[first : first + AT_ONCE])
    told = view.model_dump() if view else {}
    show(told, form, f"{many(len(lines), 'device')} of {name} may claim")


@factories.command()
def revoke(name: Factory, fleet: FleetOption = FLEET, form: FormatOption = Format.TEXT) -> None:
    """Let no further device of a factory claim. Those that did stay."""
    view = connect(fleet).revoke_factory(name)
    show(view.model_dump(), form, f"{name} is revoked: no further device of it may claim")


@factories.command()
def ship(
    out: Annotated[Path, typer.Argument(help="The file to write, factory.json.")],
    server: Annotated[
        str, typer.Option(help="Address by which devices ask, if another than from here.")
    ] = "",
    loop: Annotated[Path, typer.Option(help="Names the repository.")] = Path("loop.yaml"),
    fleet: FleetOption = FLEET,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write what the factory puts into each device: address, authority, first root. No secret."""
    from edgeloop import durable
    from edgeloop.agent.claiming import Shipped

    told = about(connect(fleet), loop, server)
    del told["model"]
    durable.write(out, Shipped.model_validate(told).model_dump_json(indent=1).encode())
    text = f"{out} goes into each device, beside certificate.pem and its key"
    show({"file": str(out), "server": told["server"]}, form, text)


def _row(view: FactoryView) -> dict[str, object]:
    return {
        **view.model_dump(),
        "who": "listed devices" if view.listed_only else "any",
        "state": "revoked" if view.revoked else "open",
    }


def _lines(batch: Path) -> Iterator[Json]:
    """The lines of a batch, each looked at.

    Raises:
        OverrideError: a line breaks a rule, or there is none.
    """
    import csv

    from pydantic import ValidationError

    from edgeloop.errors import OverrideError
    from edgeloop.fleet.views import SerialLine

    rows = csv.DictReader(_text(batch, "BATCH").splitlines())
    if "serial" not in (rows.fieldnames or ()):
        raise OverrideError("BATCH", "must have a header with serial in it", got=rows.fieldnames)
    for row in rows:
        labels = told_labels(_parts(row.get("labels")))
        told = {"serial": row["serial"], "name": row.get("name") or None, "labels": labels}
        try:
            yield json.loads(SerialLine.model_validate(told).model_dump_json())
        except ValidationError as fault:
            first = fault.errors()[0]
            got = f"{'.'.join(map(str, first['loc']))} {first['input']!r}: {first['msg']}"
            raise OverrideError(f"BATCH line {rows.line_num}", "must fit", got=got) from fault


def _parts(text: str | None) -> Sequence[str]:
    return [part.strip() for part in (text or "").split(";") if part.strip()]


def _text(path: Path, name: str) -> str:
    from edgeloop.errors import OverrideError

    try:
        return path.read_text()
    except (OSError, UnicodeError) as fault:
        got = fault.strerror if isinstance(fault, OSError) else "other text"
        raise OverrideError(name, "must be a file that can be read", got=got) from fault
