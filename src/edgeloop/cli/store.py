"""``ls``, ``show``, ``lineage``, ``gc``, ``verify``: what the store has and where it came from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeloop.cli.output import Format, FormatOption, show, table

if TYPE_CHECKING:
    from edgeloop.store.artifacts import Store
    from edgeloop.types import Artifact

StorePath = Annotated[Path, typer.Option("--store", help="The store's folder.")]
DEFAULT = Path(".edgeloop")


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("ls")(list_artifacts)
    app.command("show")(show_artifact)
    for command in (lineage, gc, verify):
        app.command()(command)


def list_artifacts(
    kind: Annotated[
        str | None, typer.Argument(help="snapshot, model, finding, bundle, run, study")
    ] = None,
    store: StorePath = DEFAULT,
    form: FormatOption = Format.TEXT,
) -> None:
    """List artifacts, oldest first."""
    opened = _open(store)
    tags: dict[str, list[str]] = {}
    for name, digest in opened.layout.tags().items():
        tags.setdefault(digest, []).append(name)
    rows = [
        {
            "digest": a.digest,
            "short": a.digest[7:19],
            "kind": a.kind,
            "made_by": a.made_by.plugin,
            "bytes": sum(layer.size for layer in a.layers),
            "tags": " ".join(tags.get(a.digest, [])),
        }
        for a in opened.artifacts(kind)
    ]
    table(rows, ("short", "kind", "made_by", "bytes", "tags"), form, "no artifacts")


def show_artifact(
    name: Annotated[str, typer.Argument(help="A tag, a digest, or the beginning of one.")],
    store: StorePath = DEFAULT,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show one artifact: what it is, how it was made, its files."""
    import yaml

    told = _told(_open(store).open(name))
    show(told, form, yaml.safe_dump(told, sort_keys=False, allow_unicode=True).rstrip())


def lineage(
    name: Annotated[str, typer.Argument(help="A tag or digest, or an answer id with --device.")],
    store: StorePath = DEFAULT,
    device: Annotated[
        Path | None, typer.Option(help="A device's folder: NAME is an answer id of its log.")
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(help="The TUF repository, to name the signers.")
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Tell where an artifact, or an answer that a device gave, came from."""
    from edgeloop.loop.lineage import as_text, trace

    told = trace(_open(store), name, device=device, repository=repository)
    show(told, form, as_text(told))


def gc(
    keep: Annotated[
        list[str] | None, typer.Option(help="Digests to keep beside releases and runs.")
    ] = None,
    store: StorePath = DEFAULT,
    repository: Annotated[
        Path, typer.Option(help="The TUF repository: what its lists name is kept.")
    ] = Path("repository"),
    form: FormatOption = Format.TEXT,
) -> None:
    """Remove artifacts that no listed release, newest run or --keep is made of."""
    opened = _open(store)
    listed, delisted = _released(repository)
    here = [digest for digest in listed if opened.has(digest)]
    done = opened.collect([*here, *(keep or [])], delisted)
    told = {"artifacts": done.artifacts, "blobs": done.blobs, "bytes": done.bytes}
    show(told, form, f"removed {done.artifacts} artifacts, {done.bytes} bytes")


def _released(repository: Path) -> tuple[list[str], list[str]]:
    """The digests that signed lists name, and the tags of releases that were delisted."""
    from edgeloop.release.repository import read_lists

    lists = read_lists(repository)
    listed = [line.digest for told in lists for line in told.releases]
    tags = [
        f"{told.name}-{told.channel}-{line.version}" for told in lists for line in told.delisted
    ]
    return listed, tags


def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged blobs; the next run makes them again.")
    ] = False,
    store: StorePath = DEFAULT,
    form: FormatOption = Format.TEXT,
) -> None:
    """Hash every blob again and name who needs what is damaged; exit code 3 when something is."""
    opened = _open(store)
    damage = opened.verify()
    faults = [str(one) for one in damage]
    if repair:
        opened.remove_damaged(damage)
    show(
        {"faults": faults, "damage": [asdict(one) for one in damage], "removed": repair},
        form,
        "\n".join(faults) or f"{store}: all blobs are whole",
    )
    if faults:
        raise typer.Exit(3)


def _open(folder: Path) -> Store:
    from edgeloop.errors import ArtifactMissingError
    from edgeloop.store.artifacts import Store

    if not (folder / "oci-layout").is_file():
        raise ArtifactMissingError(
            f"store {folder}",
            "must be there",
            todo="Run `edgeloop run` first, or name it with --store",
        )
    return Store(folder)


def _told(artifact: Artifact) -> dict[str, Any]:
    return {
        "digest": artifact.digest,
        "kind": artifact.kind,
        "made_by": {
            "plugin": artifact.made_by.plugin,
            "params": dict(artifact.made_by.params),
            "libraries": dict(artifact.made_by.libraries),
            "seed": artifact.made_by.seed,
            "key": artifact.made_by.key,
        },
        "parents": list(artifact.parents),
        "files": [{"name": f.name, "bytes": f.size, "digest": f.digest} for f in artifact.layers],
        "meta": dict(artifact.meta),
    }
