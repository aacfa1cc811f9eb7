"""``delta``: make, look at and apply the bytes between two model files or folders of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeloop.cli.output import Format, FormatOption, aligned, many, show
from edgeloop.cli.steps import Steps

if TYPE_CHECKING:
    from edgeloop.delta.info import Info

deltas = typer.Typer(
    help="Deltas: the bytes that turn an old model into a new one.", no_args_is_help=True
)
Old = Annotated[Path, typer.Argument(help="The old model: a file, or a folder of files.")]
DeltaFile = Annotated[Path, typer.Argument(help="A delta.")]
SHOWN = 16  # characters of a digest in a table; the whole is in the JSON


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(deltas, name="delta")


@deltas.command()
def create(
    old: Old,
    new: Annotated[Path, typer.Argument(help="The new one: a file, or a folder of files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The delta to write; not there yet.")],
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a delta, and apply it in memory to see that it gives the new model."""
    from edgeloop.delta import tree
    from edgeloop.delta.info import info

    with _readable(), Steps() as steps:
        steps.progress(f"making {out.name}", 0, 1)
        tree.create(old, new, out)
        told = info(out)
    text = f"{out}: {_bytes(told.size)}, {_share(told)} of the new model"
    show(_told(told), form, text)


@deltas.command()
def apply(
    old: Old,
    delta: DeltaFile,
    new: Annotated[
        Path, typer.Option("--out", "-o", help="The new model to write; not there yet.")
    ],
    form: FormatOption = Format.TEXT,
) -> None:
    """Make the new model of the old one. It appears whole, or not at all."""
    from edgeloop.delta import tree
    from edgeloop.delta.apply import read_header

    with _readable(), Steps() as steps:
        total, done = sum(file.size for file in read_header(delta).new), 0

        def came(count: int) -> None:
            nonlocal done
            done += count
            steps.progress(f"making {new.name}", done, total)

        tree.apply(old, delta, new, came)
    show({"new": str(new), "bytes": total}, form, f"{new}: {_bytes(total)}, as it was made from")


@deltas.command("info")
def told_of(delta: DeltaFile, form: FormatOption = Format.TEXT) -> None:
    """Show which files a delta is between, which tensors it tells, and what each part takes."""
    from edgeloop.delta.info import info

    with _readable():
        told = info(delta)
    show(_told(told), form, _text(told))


def _told(info: Info) -> dict[str, Any]:
    return {
        "bytes": info.size,
        "share": info.share,
        "old": [
            {"bytes": file.size, "sha256_begins": file.sha256.hex()} for file in info.header.old
        ],
        "new": [{"bytes": file.size, "sha256": file.sha256.hex()} for file in info.header.new],
        "tensors": dict(info.tensors),
        "sections": info.sections,
    }


def _text(info: Info) -> str:
    """What it is in one line, then its files, tensors and parts, each under a heading."""
    sides = (("old", info.header.old), ("new", info.header.new))
    files = [
        (side, _bytes(file.size), file.sha256.hex()[:SHOWN])
        for side, some in sides
        for file in some
    ]
    tensors = [(form, f"{count:,}") for form, count in info.tensors.items()]
    parts = [(name, _bytes(size)) for name, size in info.sections.items() if size]
    lines = [f"{_bytes(info.size)}, {_share(info)} of the new files"]
    for head, rows in (("files", files), ("tensors", tensors), ("parts", parts)):
        lines += [head, *aligned(rows)] if rows else []
    return "\n".join(lines)


def _bytes(count: int) -> str:
    return many(count, "byte") if count == 1 else f"{count:,} bytes"


def _share(info: Info) -> str:
    return "no share" if info.share is None else f"{100 * info.share:.3g} %"


@contextmanager
def _readable() -> Iterator[None]:
    """What the system says of a file is wrong input, and no fault of ours."""
    from edgeloop.errors import OverrideError

    try:
        yield
    except OSError as fault:
        name = Path(fault.filename).name if isinstance(fault.filename, str) else "a file"
        rule = "must be a file that can be read or written"
        raise OverrideError(f"file {name}", rule, got=fault.strerror) from fault
