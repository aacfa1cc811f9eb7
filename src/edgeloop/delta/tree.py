"""Deltas between model files and folders of them, as the command line takes them.

A delta to a single file has one new file. One to a folder has a listing before the folder's files,
which are in the order of their paths; see listing.py. Only files with their bytes and paths are
kept: no links, no empty folders, no modes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeloop import durable
from edgeloop.delta import create as files
from edgeloop.delta import listing
from edgeloop.delta.apply import apply as apply_files
from edgeloop.delta.apply import read_header
from edgeloop.delta.encode import Made
from edgeloop.delta.header import KNOWN, MOST_FILES, File
from edgeloop.delta.places import WHOLE
from edgeloop.errors import DeltaError, OverrideError

UNFINISHED = "partial"  # as apply.py names what is half done


def create(old: Path, new: Path, out: Path) -> Made:
    """Write the shortest delta from ``old`` to ``new``, each a file or a folder, to ``out``.

    Raises:
        OverrideError: ``out`` is there already, or a folder holds no file, too many, or a link.
        DeltaError: a file has a name that cannot be listed.
        MissingExtraError, DiskFullError, OSError: see edgeloop.delta.create.
    """
    _refuse_existing(out)
    before = [old / path for path in _paths(old)] if old.is_dir() else [old]
    data = [path.read_bytes() for path in before]
    if new.is_dir():
        paths = _paths(new)
        parts = [listing.written(paths), *((new / path).read_bytes() for path in paths)]
    else:
        parts = [new.read_bytes()]
    made = files.create_bytes(data, parts)
    durable.write(out, made.data)
    return made


def apply(
    old: Path, delta: Path, new: Path, came: Callable[[int], None] = lambda _bytes: None
) -> None:
    """Make ``new``, a file or a folder as the delta says, of ``old``. ``old`` is only read.

    Raises:
        OverrideError: ``new`` is there already, or ``old`` is a folder that holds links.
        DeltaError: the delta is broken, made from other files, or lists paths that lead astray.
            Nothing is there then that was not.
        DiskFullError: no room for the new files.
        OSError: a file cannot be read or written.
    """
    _refuse_existing(new)
    told = read_header(delta)
    used = _found(old, told.old)
    if len(told.new) == 1:
        apply_files(used, delta, [new], came)
    else:
        _check_listing(told.new)
        _apply_folder(used, delta, new, len(told.new), came)


def _apply_folder(
    used: Sequence[Path], delta: Path, new: Path, count: int, came: Callable[[int], None]
) -> None:
    """Files get numbers for names, until their paths are known and found to be good."""
    with _staging(new) as staging:
        parts = [staging / str(number) for number in range(count)]
        tree = staging / "tree"
        try:
            apply_files(used, delta, parts, came)
            _place(parts, listing.read(parts[0].read_bytes(), count - 1), tree)
        except DeltaError:
            shutil.rmtree(staging)
            raise
        durable.settle(tree, new)
        shutil.rmtree(staging)


def _place(parts: Sequence[Path], paths: Sequence[str], tree: Path) -> None:
    """Move the files to their paths within ``tree``, and make that last."""
    if tree.exists():  # of a process that was killed here
        shutil.rmtree(tree)
    tree.mkdir()
    for part, path in zip(parts[1:], paths, strict=True):
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
    for folder, _, _ in os.walk(tree, topdown=False):
        durable.sync_folder(Path(folder))


@contextmanager
def _staging(new: Path) -> Iterator[Path]:
    """A folder beside ``new`` that one process at a time works in; what is there stays."""
    staging = new.with_name(f"{new.name}.{UNFINISHED}")
    staging.mkdir(exist_ok=True)
    handle = os.open(staging, os.O_RDONLY)
    try:
        if not _locked(handle, staging):
            raise DeltaError(
                "delta", f"must be applied to {new.name} by one process at a time",
                todo="Wait for the other, or end it",
            )  # fmt: skip
        yield staging
    finally:
        os.close(handle)
        with suppress(OSError):  # something half done is in it, or it has gone
            staging.rmdir()


def _locked(handle: int, folder: Path) -> bool:
    """Whether a folder is ours now; not if another process has it, or has just taken it away."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), folder.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _paths(folder: Path) -> list[str]:
    """The files in a folder and below, by their paths, in order.

    Raises:
        DeltaError: there is none, too many, or something that is no plain file.
    """
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise OverrideError(
                f"folder {folder.name}", "must hold plain files alone",
                got=path.relative_to(folder).as_posix(),
            )  # fmt: skip
        if path.is_file():
            found.append(path.relative_to(folder).as_posix())
    if not 0 < len(found) < MOST_FILES:
        raise OverrideError(
            f"folder {folder.name}", f"must hold 1 to {MOST_FILES - 1} files", got=len(found)
        )
    return sorted(found)


def _found(old: Path, told: Sequence[File]) -> list[Path]:
    """The files that a delta was made from, by size and digest, in its order.

    Raises:
        DeltaError: one is not there.
    """
    if not old.is_dir():
        return [old] * len(told)  # what does not fit is refused when it is read
    sizes = {file.size for file in told}
    known = {}
    for path in (old / one for one in _paths(old)):
        if (size := path.stat().st_size) in sizes:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
            known[size, digest[:KNOWN]] = path
    for file in told:
        if (file.size, file.sha256) not in known:
            raise DeltaError(
                "old file", f"must have {file.size} bytes, SHA-256 {file.sha256.hex()}...",
                got=f"none such in {old.name}", todo=WHOLE,
            )  # fmt: skip
    return [known[file.size, file.sha256] for file in told]


def _check_listing(told: Sequence[File]) -> None:
    """Before anything is written: a listing is small."""
    if not told or told[0].size > listing.LARGEST:
        raise DeltaError(
            "listing", f"must have at most {listing.LARGEST} bytes",
            got=told[0].size if told else "no new file",
        )  # fmt: skip


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise OverrideError(
            f"file {path.name}", "must not be there yet", todo="Name another with -o"
        )
