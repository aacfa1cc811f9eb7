"""The device's own log of answers: which bundle gave which answer, and what people said of it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.agent.database import Database
from edgeloop.errors import DiskFullError
from edgeloop.release.bundle import MAIN

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.types import Json

MOST_ROWS = 100_000
TRIMMED_EACH = 256  # rows

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    time REAL NOT NULL,
    bundle TEXT NOT NULL,
    version INTEGER NOT NULL,
    result TEXT NOT NULL,
    truth TEXT,
    variant TEXT NOT NULL DEFAULT 'main'
);
"""
VARIANT = "ALTER TABLE answers ADD COLUMN variant TEXT NOT NULL DEFAULT 'main'"
INSERT = "INSERT INTO answers (id, time, bundle, version, result, variant) VALUES (?,?,?,?,?,?)"
FIND = "SELECT id, time, bundle, version, result, truth, variant FROM answers WHERE id = ?"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One answer. ``time`` in Unix seconds by the device's clock; ``truth`` None: not confirmed."""

    id: str
    time: float
    bundle: str
    version: int
    result: Json
    truth: Json = None
    variant: str = MAIN


class Journal:
    """The log in ``path``; the newest ``most_rows`` answers stay. Safe for several threads."""

    def __init__(self, path: Path, most_rows: int = MOST_ROWS) -> None:
        self._database, self._most = Database(path, SCHEMA), most_rows
        self._grow()
        found = self._database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'answers'")
        self._last = int(found[0][0]) if found else 0

    def _grow(self) -> None:
        """A log that an older agent began has no column for the variant.

        On a full disk it stays so: answers are given all the same, and are not logged.
        """
        columns = self._database.rows("SELECT name FROM pragma_table_info('answers')")
        if ("variant",) not in columns:
            with suppress(DiskFullError), self._database.writing() as to:
                to.execute(VARIANT)

    def add(self, entry: Entry) -> None:
        """Keep an answer before the application gets it.

        Raises:
            DiskFullError, AgentFolderError: it could not be written.
        """
        told = (entry.bundle, entry.version, json.dumps(entry.result), entry.variant)
        with self._database.writing() as to:
            seq = to.execute(INSERT, (entry.id, entry.time, *told)).lastrowid or 0
            if seq % TRIMMED_EACH == 0:
                to.execute("DELETE FROM answers WHERE seq <= ?", (seq - self._most,))
        self._last = max(self._last, seq)

    def confirm(self, answer_id: str, truth: Json) -> bool:
        """Note what a person said; False when somebody has before, which then stays."""
        update = "UPDATE answers SET truth = ? WHERE id = ? AND truth IS NULL"
        with self._database.writing() as to:
            return to.execute(update, (json.dumps(truth), answer_id)).rowcount > 0

    def find(self, answer_id: str) -> Entry | None:
        """The answer of that id; None when it is not, or no longer, in the log."""
        for row in self._database.rows(FIND, answer_id):
            found, time, bundle, version, result, truth, variant = row
            return Entry(
                id=found,
                time=time,
                bundle=bundle,
                version=version,
                result=json.loads(result),
                truth=None if truth is None else json.loads(truth),
                variant=variant,
            )
        return None

    def last_row(self) -> int:
        """The number of answers that this log was ever given. Reads no file, so it cannot fail."""
        return self._last

    def close(self) -> None:
        """Close the file."""
        self._database.close()
