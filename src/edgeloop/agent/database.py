"""Open one of the agent's SQLite files: write-ahead log, one connection shared under a lock."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from edgeloop import durable
from edgeloop.errors import AgentFolderError, DiskFullError, EdgeloopError

if TYPE_CHECKING:
    from pathlib import Path


class Database:
    """A file and its tables. Survives a kill; the last writes before a power cut may be missing.

    Unless it is ``lasting``: then each transaction is on the disk before ``writing`` ends.

    Raises:
        AgentFolderError: the file is there and is no SQLite database.
        DiskFullError: no room for a new file; one that is there is read on a full disk too.
    """

    def __init__(self, path: Path, schema: str, *, lasting: bool = False) -> None:
        self._path, self._lock = path, threading.RLock()
        try:
            self._connection = _opened(path, schema, lasting=lasting)
        except sqlite3.DatabaseError as fault:
            if durable.is_no_room(fault, path.parent):
                raise DiskFullError(
                    f"disk of {path.parent}", f"must have room for {path.name}"
                ) from fault
            raise AgentFolderError(
                f"file {path}", "must be a SQLite database", got=fault, todo="Move it away"
            ) from fault

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            AgentFolderError: the file cannot be read.
        """
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as fault:
                raise self._broken(fault) from fault

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or, after an exception, nothing.

        Raises:
            DiskFullError: no room.
            AgentFolderError: the file cannot be written.
        """
        with self._lock, durable.room(self._path):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as fault:
                self._undo()
                raise self._broken(fault) from fault
            except BaseException:  # all or nothing, whatever ends the block; it is raised on
                self._undo()
                raise

    def _broken(self, fault: sqlite3.Error) -> EdgeloopError:
        if "full" in str(fault):
            return DiskFullError(
                f"disk of {self._path.parent}", f"must have room for {self._path.name}"
            )
        return AgentFolderError(f"file {self._path}", "must be readable and writable", got=fault)

    def _undo(self) -> None:
        with suppress(sqlite3.Error):  # of a broken file the first fault is told
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _opened(path: Path, schema: str, *, lasting: bool) -> sqlite3.Connection:
    """With what other processes need to read along; where there is no room for that, without."""
    try:
        return _connected(path, schema, "NORMAL", lasting=lasting)
    except sqlite3.OperationalError as fault:
        if not durable.is_no_room(fault, path.parent):
            raise
        return _connected(path, schema, "EXCLUSIVE", lasting=lasting)


def _connected(path: Path, schema: str, locking: str, *, lasting: bool) -> sqlite3.Connection:
    with ExitStack() as on_failure:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        on_failure.callback(connection.close)
        connection.execute(f"PRAGMA locking_mode = {locking}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.executescript(schema)
        on_failure.pop_all()
    return connection
