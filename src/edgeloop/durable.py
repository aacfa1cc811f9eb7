"""Write a file or move a folder so that a power cut leaves the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeloop.errors import DiskFullError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
AS_BEFORE = "Free space; what was there is as it was"
SPARE = 64 << 10  # bytes; a disk with less is what broke a write that does not say why


def write(
    path: Path, data: bytes, *, mode: int = 0o644, thing: str = "", todo: str = AS_BEFORE
) -> None:
    """Replace ``path`` by ``data``: temporary file, fsync, rename, fsync of the folder.

    Raises:
        DiskFullError: no room; ``path`` is as it was, and nothing half-written stays.
    """
    with room(path, thing=thing, todo=todo), _drafted(path, data, mode) as draft:
        settle(draft, path)


def create(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write ``path`` as :func:`write` does, but never over another file.

    Raises:
        FileExistsError: ``path`` is there already.
        DiskFullError: no room; ``path`` is not there.
    """
    with room(path), _drafted(path, data, mode) as draft:
        os.link(draft, path)  # unlike a rename, refuses to replace
        sync_folder(path.parent)


def settle(source: Path, target: Path) -> None:
    """Rename within one disk, and make the rename last."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in ``folder`` last."""
    _sync(folder)


def sync_file(file: Path) -> None:
    """Make what was written to ``file``, by whomever, last. Its name is its folder's matter."""
    _sync(file)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Make ``folder``, with the parents that it lacks, and make them last."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    for made in missing:
        sync_folder(made.parent)


@contextmanager
def room(path: Path, *, thing: str = "", todo: str = AS_BEFORE) -> Iterator[None]:
    """Turn "no space left" into our error, naming what was to be written.

    ``thing`` is whose disk it is; the path's folder when it is not said.
    SQLite's faults are known as well.
    """
    try:
        yield
    except (OSError, sqlite3.OperationalError) as fault:
        if not is_no_room(fault, path.parent):
            raise
        raise DiskFullError(
            thing or f"disk of {path.parent}",
            f"must have room for {path.name}",
            got=f"{shutil.disk_usage(path.parent).free} bytes free",
            todo=todo,
        ) from fault


@contextmanager
def scratch(what: str) -> Iterator[Path]:
    """A temporary folder for the files of ``what``, gone behind the block.

    Raises:
        DiskFullError: no room for what is written there.
    """
    todo = "Free space, or set TMPDIR to a folder with more; what was done before is kept"
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError as fault:  # none of the system's folders takes a single byte
        rule = f"must have room for {what}"
        raise DiskFullError("temporary folder", rule, got=fault.strerror, todo=todo) from fault
    with (
        room(Path(place) / what, thing=f"temporary folder {place}", todo=todo),
        tempfile.TemporaryDirectory(prefix="edgeloop-") as folder,
        room(Path(folder) / what, thing=f"temporary folder {place}", todo=todo),
    ):
        yield Path(folder)


def is_no_room(fault: OSError | sqlite3.Error, folder: Path) -> bool:
    """Whether this is because the disk of ``folder`` is full.

    Short writes of NumPy and SQLite do not say why: there the disk itself is asked.
    """
    if isinstance(fault, OSError) and fault.errno is not None:
        return fault.errno in NO_ROOM
    code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF  # of extended codes
    if code == sqlite3.SQLITE_IOERR:
        return shutil.disk_usage(folder).free < SPARE
    return code == sqlite3.SQLITE_FULL


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _drafted(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """``data`` on the disk beside ``path``; taken away behind the block unless it was renamed."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)  # what a killed writer left may have another mode
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
