"""``release``: the channel's signed list, delisting and floor, a release's papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.cli.output import Format, FormatOption, show, table
from edgeloop.cli.release_keys import LOOP, LoopOption, open_repository, signing
from edgeloop.cli.release_payload import payload

releases = typer.Typer(help="Releases: keys, the signed list of a channel.", no_args_is_help=True)
releases.add_typer(signing, name="keys")
releases.command("payload")(payload)
Version = Annotated[int, typer.Argument(help="The release's version.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(releases, name="release")


@releases.command("list")
def listed(loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """List what devices of the channel may install."""
    from edgeloop.release.repository import read_list

    checked, repository = open_repository(loop)
    listing = read_list(repository.folder, checked.name, checked.settings.release.channel)
    rows = [
        {
            "version": line.version,
            "digest": line.digest,
            "targets": ",".join(line.targets) or "any",
            "below_floor": line.version < listing.floor,
        }
        for line in listing.releases
    ]
    table(rows, ("version", "digest", "targets", "below_floor"), form, "no releases")


@releases.command()
def delist(version: Version, loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """Take a bad release off the list: no device installs it any more."""
    checked, repository = open_repository(loop)
    repository.delist(checked.name, checked.settings.release.channel, version)
    show({"delisted": version}, form, f"release {version} is delisted")


@releases.command()
def floor(version: Version, loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """Let no device install anything older than this version."""
    checked, repository = open_repository(loop)
    repository.set_floor(checked.name, checked.settings.release.channel, version)
    show({"floor": version}, form, f"no device installs below release {version}")


@releases.command()
def refresh(loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """Sign every role anew whose key is here; do it weekly, since the timestamp lives 14 days."""
    _, repository = open_repository(loop)
    roles = repository.refresh()
    show({"refreshed": roles}, form, f"signed anew: {', '.join(roles)}")


@releases.command()
def papers(
    version: Version,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder that is empty or not there.")],
    loop: LoopOption = LOOP,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write a release as plain files, with its signatures, bill of materials and findings."""
    from edgeloop.release import papers as made
    from edgeloop.release.model_key import open_key
    from edgeloop.store.artifacts import Store

    checked, repository = open_repository(loop)
    ref = repository.release(checked.name, checked.settings.release.channel, version)
    store, key = Store(checked.path(checked.settings.store)), open_key(repository.keys)
    with store.layout.in_use():
        files = made.write(made.attach(store, ref, key), store, key, out)
    told = {"release": ref.model_dump(mode="json"), "folder": str(out), "files": files}
    show(told, form, "\n".join(files))
