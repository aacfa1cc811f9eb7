"""The paths of a folder's files as a text: the first new file of a delta between folders.

Its first line is always the same and says what it is; then one path a line, each with its end of
line, in the order of the files behind it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

from edgeloop.errors import DeltaError

MAGIC = "edgeloop delta listing 1"
LARGEST = 1 << 22  # bytes of a listing
LONGEST = 1024  # bytes of a path


def written(paths: Sequence[str]) -> bytes:
    """The text of such paths.

    Raises:
        DeltaError: a path cannot be listed.
    """
    check(paths)
    return "".join(f"{line}\n" for line in (MAGIC, *paths)).encode()


def read(data: bytes, files: int) -> list[str]:
    """The inverse of :func:`written`; ``files`` are behind it.

    Raises:
        DeltaError: it is no listing, of other files, or one of its paths leads astray.
    """
    try:
        first, *paths, last = data.decode().split("\n")
    except ValueError as fault:  # not UTF-8, or not one end of line
        raise DeltaError("listing", f'must begin with a line "{MAGIC}"') from fault
    if first != MAGIC or last:
        raise DeltaError("listing", f'must begin with a line "{MAGIC}"', got=first[:40])
    if len(paths) != files:
        raise DeltaError("listing", f"must list {files} files", got=len(paths))
    check(paths)
    return paths


def check(paths: Sequence[str]) -> None:
    """Refuse paths that lead out of a folder, or that two files would share.

    Raises:
        DeltaError: there is one.
    """
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    seen: set[str] = set()
    for path in paths:
        if not _plain(path):
            raise DeltaError("listing", "must have plain relative paths", got=repr(path)[:80])
        if path in seen or path in folders:
            raise DeltaError("listing", "must have a path for each file", got=repr(path)[:80])
        seen.add(path)


def _plain(path: str) -> bool:
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\\" in path:
        return False
    if any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} for one in path):
        return False
    return len(path.encode()) <= LONGEST
