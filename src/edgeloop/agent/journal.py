"""The device's own log of answers: which bundle gave which answer, and what people said of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.agent.database import Database

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
    truth TEXT
);
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One answer. ``time`` in Unix seconds by the device's clock; ``truth`` None: not confirmed."""

    id: str
    time: float
    bundle: str
    version: int
    result: Json
    truth: Json = None


class Journal:
    """The log in ``path``; the newest ``most_rows`` answers stay. Safe for several threads."""

    def __init__(self, path: Path, most_rows: int = MOST_ROWS) -> None:
        self._database, self._most = Database(path, SCHEMA), most_rows
        found = self._database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'answers'")
        self._last = int(found[0][0]) if found else 0

    def add(self, entry: Entry) -> None:
        """Keep an answer before the application gets it.

        Raises:
            DiskFullError, AgentFolderError: it could not be written.
        """
        row = (entry.id, entry.time, entry.bundle, entry.version, json.dumps(entry.result))
        with self._database.writing() as to:
            insert = "INSERT INTO answers (id, time, bundle, version, result) VALUES (?,?,?,?,?)"
            seq = to.execute(insert, row).lastrowid or 0
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
        query = "SELECT id, time, bundle, version, result, truth FROM answers WHERE id = ?"
        for found, time, bundle, version, result, truth in self._database.rows(query, answer_id):
            return Entry(
                id=found,
                time=time,
                bundle=bundle,
                version=version,
                result=json.loads(result),
                truth=None if truth is None else json.loads(truth),
            )
        return None

    def last_row(self) -> int:
        """The number of answers that this log was ever given. Reads no file, so it cannot fail."""
        return self._last

    def close(self) -> None:
        """Close the file."""
        self._database.close()
