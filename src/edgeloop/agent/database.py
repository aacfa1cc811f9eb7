"""Open one of the agent's SQLite files: write-ahead log, one connection shared under a lock."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """

    def __init__(self, path: Path, schema: str, *, lasting: bool = False) -> None:
        self._path, self._lock = path, threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
            self._connection.execute("PRAGMA busy_timeout = 5000")
            self._connection.executescript(schema)
        except sqlite3.DatabaseError as fault:
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
