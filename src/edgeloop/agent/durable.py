"""Write a file or move a folder so that a power cut leaves the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeloop.errors import DiskFullError

if TYPE_CHECKING:
    from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def write(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: temporary file, fsync, rename, fsync of the folder.

    Raises:
        DiskFullError: no room; ``path`` is as it was.
    """
    temporary = path.with_name(f".{path.name}.new")
    with room(path):
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        settle(temporary, path)


def settle(source: Path, target: Path) -> None:
    """Rename within one disk, and make the rename last."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in ``folder`` last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Turn "no space left" into our error, naming what was to be written."""
    try:
        yield
    except OSError as fault:
        if fault.errno not in NO_ROOM:
            raise
        raise DiskFullError(
            f"disk of {path.parent}",
            f"must have room for {path.name}",
            got=f"{shutil.disk_usage(path.parent).free} bytes free",
            todo="Free space; the device keeps the slot that it has",
        ) from fault
