"""Apply a delta to files on a disk: the new files appear whole, or not at all.

What is half done lies beside them, as ``<name>.partial``, and is gone on with the next time. The
old files are only read. See decode.py for the bytes.
"""

from __future__ import annotations

import fcntl
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from edgeloop import arrayfiles, durable
from edgeloop.delta import header
from edgeloop.delta.decode import Decoding, Progress
from edgeloop.delta.places import Places
from edgeloop.delta.sections import Fetch
from edgeloop.errors import DeltaError, DiskFullError

if TYPE_CHECKING:
    from io import FileIO

    from edgeloop.delta.header import Header

T = TypeVar("T")
SPARE = 1 << 20  # bytes that stay free, for these notes
UNFINISHED = "partial"


def read_header(delta: Path) -> Header:
    """What a delta says of itself, once its bytes are found to be those that were written.

    Raises:
        DeltaError: it is no delta, of a later version, broken, or cut short.
        OSError: it cannot be read.
    """
    with _opened(delta) as file:
        return header.read(_fetch(file), delta.stat().st_size)


def apply(
    old: Sequence[Path],
    delta: Path,
    new: Sequence[Path],
    came: Callable[[int], None] = lambda _bytes: None,
) -> None:
    """Make the ``new`` files of the ``old`` ones, both in the order of the delta's header.

    ``came`` is told of new bytes as they come. At most 16 MiB of memory are used beside what
    Python and NumPy take, however large the files are.

    Raises:
        DeltaError: the delta is broken or made from other files, or another process is applying
            one to the same files. No new file is there; nothing half done stays, but in the
            last case.
        DiskFullError: no room for the new files.
        OSError: a file cannot be read or written.
    """
    with ExitStack() as stack:
        source = stack.enter_context(_opened(delta))
        told = header.read(_fetch(source), delta.stat().st_size)
        used = _paired("old", old if told.old else (), told.old)
        made = _paired("new", new, told.new)
        _check_room(made, told)
        files = [stack.enter_context(_opened(path)) for path in used]
        before = Places(files, [path.stat().st_size for path in used])
        partials = [path.with_name(f"{path.name}.{UNFINISHED}") for path in made]
        files = [stack.enter_context(_begun(path)) for path in partials]
        after = Places(files, [one.size for one in told.new])
        notes = _Notes(partials, told.check)
        _run(Decoding(told, _fetch(source), before, after, came), notes)
        for partial in partials:
            durable.sync_file(partial)
        notes.forget()  # first: a name that is new has no partial file to go on with
        for partial, path in zip(partials, made, strict=True):
            durable.settle(partial, path)


def apply_bytes(old: Sequence[bytes], delta: bytes) -> list[bytes]:
    """The new files, all in memory. ``old`` are in the order of the delta's header.

    Raises:
        DeltaError: the delta is broken or made from other files.
    """

    def fetch(offset: int, count: int) -> bytes:
        return delta[offset : offset + count]

    told = header.read(fetch, len(delta))
    used = [io.BytesIO(data) for data in _paired("old", old if told.old else (), told.old)]
    before = Places(used, [len(data) for data in old[: len(used)]])
    made = [io.BytesIO(bytes(one.size)) for one in told.new]
    after = Places(made, [one.size for one in told.new])
    for _ in Decoding(told, fetch, before, after).run():
        pass
    return [file.getvalue() for file in made]


def _run(work: Decoding, notes: _Notes) -> None:
    """Go on from where it was; what cannot become whole is taken away."""
    try:
        for progress in work.run(notes.read()):
            notes.write(progress)
    except DeltaError:
        notes.forget()
        for partial in notes.partials:
            partial.unlink()
        raise


class _Notes:
    """How far it is, beside the first of the new files."""

    def __init__(self, partials: Sequence[Path], delta: bytes) -> None:
        self.partials, self._delta = partials, np.frombuffer(delta, dtype=np.uint8)
        self._path = partials[0].with_suffix(".progress")

    def read(self) -> Progress | None:
        """None: it was not begun, or with another delta, or the notes are broken."""
        try:
            learned = arrayfiles.unpack(self._path)
            if np.array_equal(learned.pop("delta"), self._delta):
                return Progress(int(learned.pop("entries")[0]), learned)
        except (OSError, ValueError, KeyError, IndexError):
            pass
        return None

    def write(self, progress: Progress) -> None:
        """Note how far it is, once what was made lasts."""
        for partial in self.partials:
            durable.sync_file(partial)
        own = {"delta": self._delta, "entries": np.array([progress.entries])}
        draft = arrayfiles.pack({**progress.learned, **own}, self._path.with_suffix(".new"))
        durable.sync_file(draft)
        durable.settle(draft, self._path)

    def forget(self) -> None:
        """Remove them."""
        self._path.unlink(missing_ok=True)


def _paired(side: str, given: Sequence[T], told: Sequence[header.File]) -> Sequence[T]:
    if len(given) != len(told):
        raise DeltaError("delta", f"must be applied to {len(told)} {side} files", got=len(given))
    return given


def _check_room(made: Sequence[Path], told: Header) -> None:
    for path in made[:1]:
        free, needed = shutil.disk_usage(path.parent).free, sum(one.size for one in told.new)
        if free < needed + SPARE:
            raise DiskFullError(
                f"disk of {path.parent}", f"must have room for {needed + SPARE} bytes",
                got=f"{free} bytes free", todo="Free space; the old files are as they were",
            )  # fmt: skip


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    with path.open("rb", buffering=0) as file:
        yield file


@contextmanager
def _begun(path: Path) -> Iterator[FileIO]:
    """A file that one process at a time may work on; what is there stays."""
    with path.open("ab"):
        pass  # it is there from now on
    with path.open("r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise DeltaError(
                "delta", f"must be applied to {path.name} by one process at a time",
                todo="Wait for the other, or end it",
            ) from held  # fmt: skip
        yield file


def _fetch(file: FileIO) -> Fetch:
    def fetch(offset: int, count: int) -> bytes:
        file.seek(offset)
        found = b""
        while len(found) < count and (more := file.read(count - len(found))):
            found += more
        return found

    return fetch
