"""The newest rows that the device was asked about, on disk, for models that look back at them.

A program's step may remember earlier rows (``window``). A slot that was just loaded, or put back in
charge, is shown these first, so that neither a restart nor a switch leaves a model without its
past. For a model that remembers nothing, nothing is kept.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from edgeloop import arrayfiles
from edgeloop.agent.database import Database
from edgeloop.errors import AgentFolderError, DiskFullError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.agent.loaded import Loaded
    from edgeloop.types import Array, Arrays

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS earlier (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    inputs TEXT NOT NULL
);
"""


class Earlier:
    """The rows in ``path``. Safe for several threads. They never leave the device."""

    def __init__(self, path: Path) -> None:
        self._path, self._database = path, Database(path, SCHEMA)
        self._some = bool(self._database.rows("SELECT 1 FROM earlier LIMIT 1"))

    def add(self, feed: Arrays, most: int) -> None:
        """Keep a row, and the ``most`` newest of all; 0 forgets every row.

        A disk that takes nothing is no reason to leave an application without its answer: a slot
        that is loaded later then sees a gap.
        """
        if not most and not self._some:
            return
        try:
            with self._database.writing() as to:
                insert = "INSERT INTO earlier (inputs) VALUES (?)"
                seq = to.execute(insert, (json.dumps(arrayfiles.encoded(feed)),)).lastrowid or 0
                to.execute("DELETE FROM earlier WHERE seq <= ?", (seq - most,))
            self._some = bool(most)
        except (DiskFullError, AgentFolderError) as fault:
            logger.debug("earlier.failed fault=%s", fault)

    def shown_to(self, slot: Loaded) -> Loaded:
        """``slot`` as if it had answered every row that is kept; itself where it has no memory.

        A model without its past is better than none: so it is when the file cannot be read.
        """
        if not slot.memory:
            return slot
        try:
            return slot.reminded(self._rows())
        except AgentFolderError as fault:
            logger.warning("remind.failed version=%d fault=%s", slot.ref.version, fault)
            return slot

    def _rows(self) -> list[dict[str, Array]]:
        kept = self._database.rows("SELECT inputs FROM earlier ORDER BY seq")
        try:
            return [arrayfiles.decoded(json.loads(inputs)) for (inputs,) in kept]
        except (ValueError, EOFError) as fault:
            raise AgentFolderError(
                f"file {self._path}", "must hold rows of inputs", got=fault, todo="Move it away"
            ) from fault

    def close(self) -> None:
        """Close the file."""
        self._database.close()
