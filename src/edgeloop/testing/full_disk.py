"""A disk that is full: each operation that needs room below one folder can be made to fail.

As for the recording disk: ``os``, ``open`` and what is built on them are seen, and SQLite by its
statements. What gives room back (unlink, truncate to less, rename over) never fails.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT")
SHARES = (*WRITES, "PRAGMA journal_mode")


class FullDisk:
    """Counts what needs room below ``folder`` while it is ``watching``.

    ``full`` is asked with the number of each such operation, from 0 on, before it is done; where it
    says so there is no room for it. ``done`` says what the operations were.
    """

    def __init__(self, folder: Path, full: Callable[[int], bool]) -> None:
        self._folder, self._full = folder.resolve(), full
        self.done: list[str] = []
        self.failed = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """As long as the block."""
        calls = _Calls(self)
        with (
            mock.patch.multiple(os, None, **calls.of_os()),
            mock.patch.object(io, "open", calls.open),
            mock.patch.object(builtins, "open", calls.open),
            mock.patch.object(sqlite3, "connect", calls.connect),
            mock.patch.object(shutil, "_USE_CP_SENDFILE", new=False),  # copies are writes then
        ):
            yield

    def ours(self, path: Any, folder: int | None = None) -> bool:
        """Whether this is below our folder. It starts from ``folder``, a handle."""
        if isinstance(path, int):
            path, folder = Path(f"/proc/self/fd/{path}").readlink(), None
        start = "" if folder is None else Path(f"/proc/self/fd/{folder}").readlink()
        whole = os.path.abspath(os.path.join(start, os.fsdecode(path)))  # noqa: PTH100, PTH118
        return whole.startswith(f"{self._folder}/")

    def room(self, what: str) -> bool:
        """Whether there is room for one more operation."""
        self.done.append(what)
        full = self._full(len(self.done) - 1)
        self.failed += full
        return not full

    def need(self, what: str) -> None:
        """Raise "no space left on device" where there is no room."""
        if not self.room(what):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Calls:
    """The calls that need room: each does as the real one, unless the disk is full."""

    def __init__(self, disk: FullDisk) -> None:
        self._disk = disk
        self._real = {name: getattr(os, name) for name in ("open", "write", "mkdir", "link")}
        self._open, self._connect = io.open, sqlite3.connect

    def of_os(self) -> dict[str, Any]:
        """``os``'s functions by name."""
        return {name: getattr(self, f"os_{name}") for name in self._real}

    def os_open(
        self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        if flags & os.O_CREAT and self._disk.ours(path, dir_fd) and not os.path.lexists(path):
            self._disk.need("create")
        handle: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        return handle

    def os_write(self, handle: int, data: ReadableBuffer) -> int:
        if self._disk.ours(handle):
            self._disk.need("write")
        done: int = self._real["write"](handle, data)
        return done

    def os_mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if self._disk.ours(path, dir_fd) and not os.path.lexists(path):
            self._disk.need("mkdir")
        self._real["mkdir"](path, mode, dir_fd=dir_fd)

    def os_link(self, source: Any, target: Any, **more: Any) -> None:
        if self._disk.ours(target):
            self._disk.need("link")
        self._real["link"](source, target, **more)

    def open(self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
        """``io.open``: what writes to a file of ours does so through :class:`_Raw`."""
        if not set("wxa+") & set(mode) or not self._disk.ours(file):
            return self._open(file, mode, buffering, *rest, **more)
        how = {"closefd": more.pop("closefd", True), "opener": more.pop("opener", None)}
        if not isinstance(file, int) and not os.path.lexists(file):
            self._disk.need("create")
        raw = _Raw(self._disk, file, mode, **how)
        if buffering == 0:
            return raw
        stream = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return stream if "b" in mode else io.TextIOWrapper(stream, *rest, **more)

    def connect(self, database: Any, *rest: Any, **more: Any) -> sqlite3.Connection:
        """``sqlite3.connect``: a database of ours asks for room before each statement."""
        ours = isinstance(database, str | Path) and self._disk.ours(database)
        told = {**more, "factory": _Connection} if ours else more
        connection: sqlite3.Connection = self._connect(database, *rest, **told)
        if isinstance(connection, _Connection):
            connection.disk = self._disk
        return connection


class _Raw(io.FileIO):
    """A file that asks for room before each write; half of what there is none for is written."""

    def __init__(self, disk: FullDisk, file: Any, mode: str, **how: Any) -> None:
        self._disk = disk
        super().__init__(file, mode.replace("t", "").replace("b", ""), **how)

    def write(self, data: ReadableBuffer, /) -> int:
        if not self._disk.room("write"):
            super().write(bytes(data)[: len(bytes(data)) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


class _Connection(sqlite3.Connection):
    """A database that says that its disk is full."""

    disk: FullDisk | None = None
    _alone = False  # without the memory that it shares with other processes, which is a file

    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        if statement == "PRAGMA locking_mode = EXCLUSIVE":
            self._alone = True
        self._need(statement)
        return super().execute(statement, *rest)

    def executemany(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        self._need(statement)
        return super().executemany(statement, *rest)

    def executescript(self, script: str) -> sqlite3.Cursor:
        self._need(script.strip())
        return super().executescript(script)

    def _need(self, statement: str) -> None:
        if self.disk is None or not statement.startswith(WRITES if self._alone else SHARES):
            return
        if not self.disk.room(" ".join(statement.lower().split()[:3])):
            fault = sqlite3.OperationalError("database or disk is full")
            fault.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise fault
