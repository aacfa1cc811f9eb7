"""Apply a delta to files on a disk: the new files appear whole, or not at all.

What is half done lies beside them, as ``<name>.partial``, and is gone on with the next time. The
old files are only read. See decode.py for the bytes.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
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
VERSION = version("edgeloop")  # another one may have other notes
MOST_IN_MEMORY = 1 << 32  # bytes of new files, unless more is asked for
SPARE = 1 << 20  # bytes that stay free, for these notes
UNFINISHED = "partial"
BLOCK = 512  # bytes, in which a system says how much of a disk a file takes
AS_BEFORE = "Free space; the old files are as they were"


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
        DiskFullError: no room for the new files; nothing half done stays.
        OSError: a file cannot be read or written.
    """
    with ExitStack() as stack:
        source = stack.enter_context(_opened(delta))
        told = header.read(_fetch(source), delta.stat().st_size)
        used = _paired("old", old if told.old else (), told.old)
        made = _paired("new", new, told.new)
        partials = [path.with_name(f"{path.name}.{UNFINISHED}") for path in made]
        _check_room(partials, told)
        files = [stack.enter_context(_opened(path)) for path in used]
        before = Places(files, [path.stat().st_size for path in used])
        notes = _Notes(partials, told.check)
        stack.enter_context(_room(notes))
        files = [stack.enter_context(_begun(path)) for path in partials]
        after = Places(files, [one.size for one in told.new])
        _run(Decoding(told, _fetch(source), before, after, came), notes)
        notes.forget()  # first: a name that is new has no partial file to go on with
        for partial, path in zip(partials, made, strict=True):
            durable.settle(partial, path)


def apply_bytes(old: Sequence[bytes], delta: bytes, most: int = MOST_IN_MEMORY) -> list[bytes]:
    """The new files, all in memory. ``old`` are in the order of the delta's header.

    Raises:
        DeltaError: the delta is broken or made from other files, or the new ones have more than
            ``most`` bytes.
    """

    def fetch(offset: int, count: int) -> bytes:
        return delta[offset : offset + count]

    told = header.read(fetch, len(delta))
    size = sum(one.size for one in told.new)
    if size > most:
        raise DeltaError("delta", f"must make at most {most} bytes in memory", got=size)
    used = [io.BytesIO(data) for data in _paired("old", old if told.old else (), told.old)]
    before = Places(used, [len(data) for data in old[: len(used)]])
    made = [io.BytesIO(bytes(one.size)) for one in told.new]
    after = Places(made, [one.size for one in told.new])
    for _ in Decoding(told, fetch, before, after).run():
        pass
    return [file.getvalue() for file in made]


def _run(work: Decoding, notes: _Notes) -> None:
    """Go on from where it was; what cannot become whole is taken away."""
    start = notes.read()
    try:
        try:
            _through(work, notes, start)
        except DeltaError:
            if start is None:
                raise
            notes.forget()  # what was half done may not be what they say: begin anew
            _through(work, notes, None)
    except DeltaError:
        notes.take_away()
        raise


@contextmanager
def _room(notes: _Notes) -> Iterator[None]:
    """A disk that is full on the way gets back what was taken of it."""
    try:
        with durable.room(notes.partials[0], todo=AS_BEFORE):
            yield
    except DiskFullError:
        notes.take_away()
        raise


def _through(work: Decoding, notes: _Notes, start: Progress | None) -> None:
    for progress in work.run(start):
        notes.write(progress)
    notes.settle()


class _Notes:
    """How far it is, beside the first of the new files."""

    def __init__(self, partials: Sequence[Path], delta: bytes) -> None:
        self.partials = partials
        self._about = np.frombuffer(delta + VERSION.encode(), dtype=np.uint8)
        self._path = partials[0].with_suffix(".progress")
        self._draft = self._path.with_name(f".{self._path.name}.new")

    def read(self) -> Progress | None:
        """None: it was not begun, or with another delta or version, or the notes are broken."""
        try:
            learned = arrayfiles.unpack(self._path)
            if np.array_equal(learned.pop("about"), self._about):
                return Progress(int(learned.pop("entries")[0]), learned)
        except (OSError, ValueError, KeyError):
            pass
        return None

    def write(self, progress: Progress) -> None:
        """Note how far it is, once what was made lasts."""
        self.settle()
        own = {"about": self._about, "entries": np.array([progress.entries])}
        arrayfiles.pack({**progress.learned, **own}, self._draft)
        durable.sync_file(self._draft)
        durable.settle(self._draft, self._path)

    def settle(self) -> None:
        """Make what was made last."""
        for partial in self.partials:
            durable.sync_file(partial)

    def forget(self) -> None:
        """Remove them."""
        for path in (self._path, self._draft):
            path.unlink(missing_ok=True)

    def take_away(self) -> None:
        """Remove them, and what is half done."""
        self.forget()
        for partial in self.partials:
            partial.unlink(missing_ok=True)


def _paired(side: str, given: Sequence[T], told: Sequence[header.File]) -> Sequence[T]:
    if len(given) != len(told):
        raise DeltaError("delta", f"must be applied to {len(told)} {side} files", got=len(given))
    return given


def _check_room(partials: Sequence[Path], told: Header) -> None:
    """What is half done has its room already."""
    held = sum(BLOCK * path.stat().st_blocks for path in partials if path.exists())
    needed = max(0, sum(one.size for one in told.new) - held) + SPARE
    folder = partials[0].parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFullError(
            f"disk of {folder}", f"must have room for {needed} bytes", got=f"{free} bytes free",
            todo=AS_BEFORE,
        )  # fmt: skip


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    with path.open("rb", buffering=0) as file:
        yield file


@contextmanager
def _begun(path: Path) -> Iterator[FileIO]:
    """A file that one process at a time may work on; what is there stays."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        if not _locked(file, path):
            raise DeltaError(
                "delta", f"must be applied to {path.name} by one process at a time",
                todo="Wait for the other, or end it",
            )  # fmt: skip
        yield file


def _locked(file: FileIO, path: Path) -> bool:
    """Whether it is ours, and still there: the other may have given it its name since."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _fetch(file: FileIO) -> Fetch:
    def fetch(offset: int, count: int) -> bytes:
        file.seek(offset)
        found = b""
        while len(found) < count and (more := file.read(count - len(found))):
            found += more
        if len(found) < count:
            raise DeltaError("delta", "must stay as long as it was", todo="Fetch it again")
        return found

    return fetch
