"""A recording disk: what Python code does to the files below one folder, operation by operation.

What is seen: ``os``, ``open`` and what is built on them (pathlib, shutil, tempfile). SQLite goes
around Python, so each database is seen as SQLite documents it: a file that is always whole, and a
list of committed transactions. With ``synchronous = NORMAL`` in a write-ahead log, any number of
the newest may be gone after a power cut; with ``FULL`` none; a clean close makes all of them last.
A checkpoint in between would save some: it is not counted on. Linux only.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ROOT = 0  # the node of the folder itself
FULL = 2  # SQLite's number of ``synchronous = FULL``


class Kind(StrEnum):
    """What an operation does. The first four change a folder's names, the next four a file."""

    NAME = "name"  # of a new file or folder, of a link, or of the far side of a rename
    UNNAME = "unname"
    RENAME = "rename"  # within one folder
    LEAVE = "leave"  # the near side of a rename into another folder; never before the far side
    WRITE = "write"
    TRUNCATE = "truncate"
    CHMOD = "chmod"
    COMMIT = "commit"  # ``data`` is the whole database behind this transaction
    SYNC = "sync"  # what was done to ``node`` before lasts
    NOTE = "note"  # something outside of the disk; see Recorder.note


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file, folder, symbolic link or database as it was made: empty, under a number."""

    node: int
    what: str  # "file", "folder", "link" or "database"
    mode: int = 0o644
    target: str = ""  # of a symbolic link


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation on ``node``: a folder for names, a file or database for what is in it."""

    kind: Kind
    node: int = ROOT
    name: str = ""
    child: int = ROOT  # whom ``name`` names
    before: str = ""  # the old name of a rename
    offset: int = 0
    size: int = 0
    mode: int = 0
    data: bytes = b""
    note: Any = None


Value = Any  # of a file (mode, bytes), of a folder {name: node}, of a database its bytes or None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file, folder, link or database of a disk; entries of one ``node`` are one file."""

    path: str
    made: Made
    value: Value


@dataclass
class Recording:
    """What happened, in order; every node that there was, by its number.

    ``first`` is what lasted before: of nodes that were there.
    """

    operations: list[Operation] = field(default_factory=list)
    made: dict[int, Made] = field(default_factory=lambda: {ROOT: Made(node=ROOT, what="folder")})
    first: dict[int, Value] = field(default_factory=dict)


class Recorder:
    """Records what happens below ``folder`` while it is ``watching``.

    ``disk`` is what is in the folder; nothing when it is not said.
    """

    def __init__(self, folder: Path, disk: tuple[Entry, ...] = ()) -> None:
        self.folder, self.recording = folder.resolve(), Recording()
        self._lock = threading.RLock()
        self._nodes = {self._inode(self.folder): ROOT}
        for entry in disk:
            self._found(entry)
        self._next = max(self.recording.made) + 1

    def note(self, note: object) -> None:
        """Something outside of the disk that a cut may fall before or behind."""
        self.add(Operation(kind=Kind.NOTE, note=note))

    def add(self, operation: Operation) -> None:
        """Keep one operation."""
        with self._lock:
            self.recording.operations.append(operation)

    def below(self, path: Any, folder: int | None = None) -> str | None:
        """The whole path, when it is in our folder. It starts from ``folder``, a handle."""
        start = "" if folder is None else Path(f"/proc/self/fd/{folder}").readlink()
        whole = os.path.abspath(os.path.join(start, os.fsdecode(path)))  # noqa: PTH100, PTH118
        return whole if f"{whole}/".startswith(f"{self.folder}/") else None

    def of(self, there: str | Path | int) -> int | None:
        """The number of a file that is there, by path or handle; None when it is not ours."""
        where = Path(f"/proc/self/fd/{there}").readlink() if isinstance(there, int) else there
        if self.below(where) is None:  # it may have the inode of a file of ours that is gone
            return None
        return self._nodes.get(self._inode(there))

    def made(self, path: str, what: str, target: str = "") -> None:
        """``path`` is there since just now."""
        with self._lock:
            node, self._next = self._next, self._next + 1
            self._nodes[self._inode(path)] = node
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            self.recording.made[node] = Made(node=node, what=what, mode=mode, target=target)
            self.named(path, node)

    def database(self, path: str) -> int:
        """The node of a database; one that has no name, for SQLite sees to it."""
        with self._lock:
            for node, made in self.recording.made.items():
                if (made.what, made.target) == ("database", path):
                    return node
            node, self._next = self._next, self._next + 1
            self.recording.made[node] = Made(node=node, what="database", target=path)
            return node

    def named(self, path: str, node: int) -> None:
        """``path`` names ``node`` now."""
        folder, name = os.path.split(path)
        self.add(Operation(kind=Kind.NAME, node=self._folder(folder), name=name, child=node))

    def gone(self, path: str, kind: Kind = Kind.UNNAME, child: int = ROOT) -> None:
        """``path`` names nothing any more."""
        folder, name = os.path.split(path)
        self.add(Operation(kind=kind, node=self._folder(folder), name=name, child=child))

    def renamed(self, before: str, after: str, node: int) -> None:
        """One operation within a folder; between folders each has its half."""
        (source, old), (target, new) = os.path.split(before), os.path.split(after)
        if source == target:
            at = self._folder(source)
            self.add(Operation(kind=Kind.RENAME, node=at, name=new, before=old, child=node))
        else:
            self.named(after, node)
            self.gone(before, Kind.LEAVE, node)

    @contextmanager
    def watching(self) -> Iterator[Recording]:
        """Record until the end of the block."""
        watched = _Watched(self)
        with (
            mock.patch.multiple(os, None, **watched.calls()),
            mock.patch.object(io, "open", watched.open),
            mock.patch.object(builtins, "open", watched.open),
            mock.patch.object(sqlite3, "connect", watched.connect),
            mock.patch.object(shutil, "_USE_CP_SENDFILE", new=False),  # copies are writes then
        ):
            yield self.recording

    def _found(self, entry: Entry) -> None:
        path, node, to = self.folder / entry.path, entry.made.node, self.recording
        to.made[node] = entry.made
        if entry.made.what == "database":
            to.first[node] = entry.value
            return
        self._nodes[self._inode(path)] = node
        to.first[node] = {} if entry.made.what == "folder" else entry.value
        to.first.setdefault(ROOT, {})
        to.first[self._folder(str(path.parent))][path.name] = node

    def _folder(self, path: str) -> int:
        return self._nodes[self._inode(path)]

    @staticmethod
    def _inode(there: str | Path | int) -> tuple[int, int]:
        found = os.fstat(there) if isinstance(there, int) else os.lstat(there)
        return found.st_dev, found.st_ino


class _Watched:
    """The calls that change a disk: each does as the real one, and is kept when it is ours."""

    def __init__(self, to: Recorder) -> None:
        self._to = to
        self._real = {name: getattr(os, name) for name in self._names()}
        self._open, self._connect = io.open, sqlite3.connect

    @staticmethod
    def _names() -> tuple[str, ...]:
        return (
            *("open", "write", "fsync", "fdatasync", "ftruncate", "truncate", "chmod", "fchmod"),
            *("rename", "replace", "link", "symlink", "unlink", "remove", "mkdir", "rmdir"),
        )

    def calls(self) -> dict[str, Any]:
        """``os``'s functions by name."""
        own = {"fdatasync": "fsync", "replace": "rename", "remove": "unlink", "open": "os_open"}
        return {name: getattr(self, own.get(name, name)) for name in self._names()}

    def open(self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
        """``io.open``: what writes to a file of ours does so through :class:`_Raw`."""
        writes = bool(set("wax+") & set(mode))
        ours = self._to.of(file) if isinstance(file, int) else self._to.below(file)
        if not writes or ours is None:
            return self._open(file, mode, buffering, *rest, **more)
        how = {"closefd": more.pop("closefd", True), "opener": more.pop("opener", None)}
        raw = _Raw(self._to, file, mode, **how)
        if buffering == 0:
            return raw
        stream = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return stream if "b" in mode else io.TextIOWrapper(stream, *rest, **more)

    def connect(self, database: Any, *rest: Any, **more: Any) -> sqlite3.Connection:
        """``sqlite3.connect``: a database of ours tells of each transaction."""
        path = self._to.below(database)
        told = more if path is None else {**more, "factory": _Connection}
        connection: sqlite3.Connection = self._connect(database, *rest, **told)
        if path is not None and isinstance(connection, _Connection):
            connection.tells(self._to, os.path.relpath(path, self._to.folder))
        return connection

    def os_open(
        self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        ours = self._to.below(path, dir_fd)
        there = ours is not None and os.path.lexists(ours)
        handle: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        if ours is not None and flags & os.O_CREAT and not there:
            self._to.made(ours, "file")
        elif ours is not None and flags & os.O_TRUNC:
            self._cut(handle, 0)
        return handle

    def write(self, handle: int, data: ReadableBuffer) -> int:
        node = self._to.of(handle)
        at = _position(handle)
        done: int = self._real["write"](handle, data)
        if node is not None:
            kept = bytes(data)[:done]
            self._to.add(Operation(kind=Kind.WRITE, node=node, offset=at, data=kept))
        return done

    def fsync(self, handle: Any) -> None:
        number = handle if isinstance(handle, int) else handle.fileno()
        self._real["fsync"](number)
        node = self._to.of(number)
        if node is not None:
            self._to.add(Operation(kind=Kind.SYNC, node=node))

    def ftruncate(self, handle: int, size: int) -> None:
        self._real["ftruncate"](handle, size)
        self._cut(handle, size)

    def truncate(self, path: Any, size: int) -> None:
        self._real["truncate"](path, size)
        self._cut(path, size)

    def chmod(self, path: Any, mode: int, **more: Any) -> None:
        self._real["chmod"](path, mode, **more)
        self._allow(path, mode)

    def fchmod(self, handle: int, mode: int) -> None:
        self._real["fchmod"](handle, mode)
        self._allow(handle, mode)

    def rename(
        self,
        source: Any,
        target: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        before, after = self._to.below(source, src_dir_fd), self._to.below(target, dst_dir_fd)
        self._real["rename"](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if before is not None and after is not None:
            node = self._to.of(after)
            assert node is not None, f"{after} came from nowhere"
            self._to.renamed(before, after, node)

    def link(self, source: Any, target: Any, **more: Any) -> None:
        self._real["link"](source, target, **more)
        after = self._to.below(target)
        if after is not None and (node := self._to.of(after)) is not None:
            self._to.named(after, node)

    def symlink(self, source: Any, target: Any, *rest: Any, **more: Any) -> None:
        self._real["symlink"](source, target, *rest, **more)
        if (ours := self._to.below(target)) is not None:
            self._to.made(ours, "link", os.fsdecode(source))

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        ours = self._to.below(path, dir_fd)
        self._real["unlink"](path, dir_fd=dir_fd)
        if ours is not None:
            self._to.gone(ours)

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self._real["mkdir"](path, mode, dir_fd=dir_fd)
        if (ours := self._to.below(path, dir_fd)) is not None:
            self._to.made(ours, "folder")

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        ours = self._to.below(path, dir_fd)
        self._real["rmdir"](path, dir_fd=dir_fd)
        if ours is not None:
            self._to.gone(ours)

    def _cut(self, there: Any, size: int) -> None:
        if (node := self._to.of(there)) is not None:
            self._to.add(Operation(kind=Kind.TRUNCATE, node=node, size=size))

    def _allow(self, there: Any, mode: int) -> None:
        node = self._to.of(there)
        if (
            node is not None and self._to.recording.made[node].what == "file"
        ):  # of a folder it lasts
            self._to.add(Operation(kind=Kind.CHMOD, node=node, mode=mode))


class _Raw(io.FileIO):
    """A file that tells of each write."""

    def __init__(self, to: Recorder, file: Any, mode: str, **how: Any) -> None:
        self._to = to
        path = None if isinstance(file, int) or how["opener"] else to.below(file)
        there = path is not None and os.path.lexists(path)
        super().__init__(file, mode.replace("t", ""), **how)
        if path is not None and not there:
            to.made(path, "file")
        node = to.of(self.fileno())
        assert node is not None, f"{file} came from nowhere"
        self._node = node
        if there and "w" in mode:
            to.add(Operation(kind=Kind.TRUNCATE, node=node))

    def write(self, data: ReadableBuffer, /) -> int:
        at = _position(self.fileno())
        done = super().write(data)
        kept = bytes(data)[:done]
        self._to.add(Operation(kind=Kind.WRITE, node=self._node, offset=at, data=kept))
        return done

    def truncate(self, size: int | None = None, /) -> int:
        done = super().truncate(size)
        self._to.add(Operation(kind=Kind.TRUNCATE, node=self._node, size=done))
        return done


class _Connection(sqlite3.Connection):
    """A database that tells of each transaction."""

    _to: Recorder | None = None
    _last = b""

    def tells(self, to: Recorder, path: str) -> None:
        self._to, self._node = to, to.database(path)

    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        done = super().execute(statement, *rest)
        if statement.startswith("COMMIT"):
            self._tell()
        return done

    def executescript(self, script: str) -> sqlite3.Cursor:
        done = super().executescript(script)
        self._tell()
        return done

    def close(self) -> None:
        super().close()
        self._settled()

    def _tell(self) -> None:
        if self._to is None or (whole := self.serialize()) == self._last:
            return
        self._last = whole
        self._to.add(Operation(kind=Kind.COMMIT, node=self._node, data=whole))
        if super().execute("PRAGMA synchronous").fetchone()[0] >= FULL:
            self._settled()

    def _settled(self) -> None:
        if self._to is not None:
            self._to.add(Operation(kind=Kind.SYNC, node=self._node))


def _position(handle: int) -> int:
    if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_APPEND:
        return os.fstat(handle).st_size
    return os.lseek(handle, 0, os.SEEK_CUR)
