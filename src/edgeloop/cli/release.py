"""``release``: keys, the channel's signed list, delisting and floor, a release's papers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeloop.cli.output import Format, FormatOption, show, table

if TYPE_CHECKING:
    from edgeloop.loop.file import LoopFile
    from edgeloop.release.repository import Repository

releases = typer.Typer(help="Releases: keys, the signed list of a channel.", no_args_is_help=True)
signing = typer.Typer()
releases.add_typer(signing, name="keys")
LoopOption = Annotated[Path, typer.Option("--loop", help="The loop file.")]
Version = Annotated[int, typer.Argument(help="The release's version.")]
LOOP = Path("loop.yaml")


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(releases, name="release")


@signing.callback(invoke_without_command=True)
def keys(context: typer.Context, loop: LoopOption = LOOP, form: FormatOption = Format.TEXT) -> None:
    """List each role's key; make keys and the first signed metadata where there are none."""
    if context.invoked_subcommand is not None:
        return
    checked, repository = _open(loop)
    repository.create((checked.settings.release.channel,))
    rows = [asdict(line) for line in repository.keys_of_roles()]
    if form is Format.JSON:
        told = {"keys": str(repository.keys), "repository": str(repository.folder), "roles": rows}
        show(told, form, "")
    else:
        table(rows, ("role", "key", "file", "threshold", "version", "expires"), form)
        show(None, form, f"keys in {repository.keys}: keep root.pem and targets.pem offline")


@signing.command()
def rotate(
    roles: Annotated[
        list[str], typer.Argument(help="root, targets, snapshot, timestamp, or a channel.")
    ],
    loop: LoopOption = LOOP,
    form: FormatOption = Format.TEXT,
) -> None:
    """Give roles new keys, and let devices believe the old ones no more: lost, stolen or aged."""
    _, repository = _open(loop)
    repository.rotate(roles)
    news = {line.role: line.key for line in repository.keys_of_roles() if line.role in roles}
    lines = [f"{role} has the new key {key}" for role, key in news.items()]
    lines.append(f"the old ones are kept as .retired files in {repository.keys}")
    show({"rotated": news}, form, "\n".join(lines))


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

    checked, repository = _open(loop)
    ref = repository.release(checked.name, checked.settings.release.channel, version)
    store, key = Store(checked.path(checked.settings.store)), open_key(repository.keys)
    with store.layout.in_use():
        files = made.write(made.attach(store, ref, key), store, key, out)
    told = {"release": ref.model_dump(mode="json"), "folder": str(out), "files": files}
    show(told, form, "\n".join(files))


def _open(loop: Path) -> tuple[LoopFile, Repository]:
    from edgeloop.loop.file import load_loop
    from edgeloop.release.repository import Repository

    checked = load_loop(loop)
    release = checked.settings.release
    return checked, Repository(checked.path(release.repository), checked.path(release.keys))
