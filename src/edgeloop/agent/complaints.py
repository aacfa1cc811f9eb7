"""What people complained about: one text per answer, which stays on the device.

Home goes that there was a complaint, counted in the window of its bundle; the text only with a
sample, and so from devices that opted in alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.agent.database import Database
from edgeloop.errors import InputMismatchError

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 2000  # characters
KEPT = 1000  # the newest

SCHEMA = """
CREATE TABLE IF NOT EXISTS complaints (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    answer TEXT NOT NULL UNIQUE,
    time REAL NOT NULL,
    text TEXT NOT NULL
);
"""


class Complaints:
    """Complaints in ``path``, a file that is made with the first one. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = Database(path, SCHEMA) if path.exists() else None

    def add(self, answer_id: str, text: str, now: float) -> bool:
        """Keep what a person said of an answer; False when somebody has before, which then stays.

        Raises:
            InputMismatchError: the text is empty, or too long.
            DiskFullError, AgentFolderError: it could not be written.
        """
        if not 0 < len(text.strip()) <= len(text) <= LONGEST:
            rule = f"must have 1 to {LONGEST} characters"
            raise InputMismatchError("complaint", rule, got=len(text))
        if self._database is None:
            self._database = Database(self._path, SCHEMA)
        with self._database.writing() as to:
            insert = "INSERT OR IGNORE INTO complaints (answer, time, text) VALUES (?,?,?)"
            done = to.execute(insert, (answer_id, now, text))
            to.execute("DELETE FROM complaints WHERE seq <= ?", ((done.lastrowid or 0) - KEPT,))
            return done.rowcount > 0

    def of(self, answer_id: str) -> str:
        """What was said of an answer; "" for nothing."""
        if self._database is None:
            return ""
        found = self._database.rows("SELECT text FROM complaints WHERE answer = ?", answer_id)
        return str(found[0][0]) if found else ""

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
