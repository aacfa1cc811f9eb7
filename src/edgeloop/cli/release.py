"""``release``: keys, the channel's signed list, delisting and floor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.output import Format, FormatOption, show, table

if TYPE_CHECKING:
    from edgeloop.loop.file import LoopFile
    from edgeloop.release.repository import Repository

releases = typer.Typer(help="Releases: keys, the signed list of a channel.", no_args_is_help=True)
LoopOption = Annotated[Path, typer.Option("--loop", help="The loop file.")]
Version = Annotated[int, typer.Argument(help="The release's version.")]
LOOP = Path("loop.yaml")


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(releases, name="release")


@releases.command()
def keys(loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """Make the keys and the first signed metadata, where there are none."""
    checked, repository = _open(loop)
    repository.create((checked.settings.release.channel,))
    told = {"keys": str(repository.keys), "repository": str(repository.folder)}
    show(told, form, f"keys in {repository.keys}: keep root.pem and targets.pem offline")


@releases.command("list")
def listed(loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """List what devices of the channel may install."""
    from edgeloop.release.repository import read_list

    checked, repository = _open(loop)
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
    checked, repository = _open(loop)
    repository.delist(checked.name, checked.settings.release.channel, version)
    show({"delisted": version}, form, f"release {version} is delisted")


@releases.command()
def floor(version: Version, loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """Let no device install anything older than this version."""
    checked, repository = _open(loop)
    repository.set_floor(checked.name, checked.settings.release.channel, version)
    show({"floor": version}, form, f"no device installs below release {version}")


@releases.command()
def refresh(loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """Sign every role anew whose key is here; do it weekly, since the timestamp lives 14 days."""
    _, repository = _open(loop)
    roles = repository.refresh()
    show({"refreshed": roles}, form, f"signed anew: {', '.join(roles)}")


def _open(loop: Path) -> tuple[LoopFile, Repository]:
    from edgeloop.loop.file import load_loop
    from edgeloop.release.repository import Repository

    checked = load_loop(loop)
    release = checked.settings.release
    return checked, Repository(checked.path(release.repository), checked.path(release.keys))
