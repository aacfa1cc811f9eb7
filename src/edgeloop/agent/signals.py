"""What goes home of the answers: windows of counts, errors and sketches, kept until acknowledged.

Windows wait in SQLite within a budget of bytes. When it is spent, old windows of one bundle, and of
one variant of it (column ``bundle`` tells them apart), that were never sent are merged into one:
rows stay, time is coarser. A window that was ever sent keeps its id and content until the control
plane has it, so that counting by id counts it once.
"""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING

from edgeloop.agent.database import Database
from edgeloop.errors import AgentFolderError, DiskFullError
from edgeloop.protocol.messages import Window, Windows
from edgeloop.sketches.profile import Profile

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from edgeloop.agent.loaded import Meaning
    from edgeloop.clock import Clock
    from edgeloop.types import Array, Arrays

logger = logging.getLogger(__name__)

SKETCHED_EACH = 32  # answers; sketching one by one costs ten times as much
BATCH = 50  # windows in one message
LATENCY = "latency_ms"

SCHEMA = """
CREATE TABLE IF NOT EXISTS windows (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    bundle TEXT NOT NULL,
    payload TEXT NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0
);
"""


class OpenWindow:
    """A window of one bundle that still grows."""

    def __init__(self, meaning: Meaning, now: float) -> None:
        self._meaning, self.began = meaning, now
        self.answers = self.errors = self.unlogged = self.confirmed = self.complaints = 0
        self._quality = 0.0
        self._profile = Profile()
        self._rows: list[tuple[Arrays, Arrays]] = []
        self._ms: list[float] = []

    @property
    def rows(self) -> int:
        """Answers and failed answers."""
        return self.answers + self.errors

    def saw(self, feed: Arrays, answers: Arrays, ms: float) -> None:
        """One answer of one row."""
        self.answers += 1
        self._rows.append((feed, answers))
        self._ms.append(ms)
        if len(self._rows) >= SKETCHED_EACH:
            self._sketch()

    def confirm(self, quality: float) -> None:
        """A person confirmed or corrected an answer; ``quality`` in 0..1."""
        self.confirmed += 1
        self._quality += quality

    def close(self, now: float) -> Window:
        """The window as a message."""
        self._sketch()
        ref = self._meaning.ref
        return Window(
            id=secrets.token_hex(16),
            bundle=ref.digest,
            version=ref.version,
            variant=self._meaning.variant,
            began=self.began,
            ended=now,
            answers=self.answers,
            errors=self.errors,
            unlogged=self.unlogged,
            confirmed=self.confirmed,
            complaints=self.complaints,
            quality=self._quality,
            sketches=self._profile.to_json(),
        )

    def _sketch(self) -> None:
        import numpy as np

        if not self._rows:
            return
        feed = {n: np.concatenate([f[n] for f, _ in self._rows]) for n in self._rows[0][0]}
        answers = {n: np.concatenate([a[n] for _, a in self._rows]) for n in self._rows[0][1]}
        latency: dict[str, Array] = {LATENCY: np.asarray(self._ms, dtype="float64")}
        self._profile.update({**self._meaning.features(feed, answers), **latency})
        self._rows, self._ms = [], []


class Signals:
    """Windows of ``answers`` answers or ``seconds`` seconds, whichever is first.

    Safe for several threads. ``most_bytes`` is the budget for windows that wait.
    """

    def __init__(
        self, path: Path, clock: Clock, *, answers: int, seconds: float, most_bytes: int
    ) -> None:
        # lasting: a window that was sent must be known as sent behind a power cut, see batch
        self._database, self._clock = Database(path, SCHEMA, lasting=True), clock
        self._answers, self._seconds, self._most = answers, seconds, most_bytes
        self._open: dict[str, OpenWindow] = {}
        self._lock = threading.RLock()

    def saw(self, meaning: Meaning, feed: Arrays, answers: Arrays, ms: float) -> None:
        """Count one answer of one row."""
        with self._lock:
            window = self._window(meaning)
            window.saw(feed, answers, ms)
            self._close_if(meaning.source, window.rows % self._answers == 0)

    def failed(self, meaning: Meaning) -> None:
        """Count one answer that the model did not give."""
        with self._lock:
            window = self._window(meaning)
            window.errors += 1
            self._close_if(meaning.source, window.rows % self._answers == 0)

    def unlogged(self, meaning: Meaning) -> None:
        """Count one answer that was given and could not be written to the log."""
        with self._lock:
            self._window(meaning).unlogged += 1

    def confirmed(self, meaning: Meaning, quality: float) -> None:
        """Count one answer that a person confirmed or corrected; ``quality`` in 0..1."""
        with self._lock:
            self._window(meaning).confirm(quality)

    def complained(self, meaning: Meaning) -> None:
        """Count one answer that a person complained about."""
        with self._lock:
            self._window(meaning).complaints += 1

    def close_due(self) -> None:
        """Close the windows that are old enough."""
        with self._lock:
            now = self._clock.now()
            for source, window in list(self._open.items()):
                self._close_if(source, not 0 <= now - window.began < self._seconds)

    def close_all(self) -> None:
        """Close every window, full or not: before the agent ends."""
        with self._lock:
            for source in list(self._open):
                self._close_if(source, closing=True)

    def batch(self) -> Windows | None:
        """What to send next; None when nothing waits. From now on it is never changed.

        The same batch again, until it is acknowledged.
        """
        with self._lock:
            rows = self._database.rows(
                "SELECT id, payload FROM windows WHERE sent = 1 OR NOT EXISTS"
                " (SELECT 1 FROM windows WHERE sent = 1) ORDER BY seq LIMIT ?",
                BATCH,
            )
            if not rows:
                return None
            with self._database.writing() as to:
                mark = "UPDATE windows SET sent = 1 WHERE id = ?"
                to.executemany(mark, [(row[0],) for row in rows])
            return Windows(windows=tuple(Window.model_validate_json(row[1]) for row in rows))

    def acknowledged(self, batch: Windows) -> None:
        """The control plane has these; they are deleted here."""
        with self._lock, self._database.writing() as to:
            gone = [(window.id,) for window in batch.windows]
            to.executemany("DELETE FROM windows WHERE id = ?", gone)

    def close(self) -> None:
        """Close the file; windows that are open are lost."""
        self._database.close()

    def _window(self, meaning: Meaning) -> OpenWindow:
        source = meaning.source
        if source not in self._open:
            self._open[source] = OpenWindow(meaning, self._clock.now())
        return self._open[source]

    def _close_if(self, source: str, closing: bool) -> None:  # noqa: FBT001  (private, one word)
        """Store a window, then forget it; one that cannot be stored stays open and grows."""
        if not closing:
            return
        window = self._open[source].close(self._clock.now())
        try:
            with self._database.writing() as to:
                insert = "INSERT INTO windows (id, bundle, payload) VALUES (?,?,?)"
                to.execute(insert, (window.id, source, window.model_dump_json()))
                self._stay_within_budget(to)
        except (DiskFullError, AgentFolderError) as fault:
            logger.warning(
                "window.failed bundle=%s answers=%d fault=%s", source, window.answers, fault
            )
            return
        del self._open[source]

    def _stay_within_budget(self, to: sqlite3.Connection) -> None:
        """Merge the two oldest unsent windows of a bundle, until it fits or none are left."""
        size = "SELECT coalesce(sum(length(payload)), 0) FROM windows"
        pair = (
            "SELECT id, payload FROM windows WHERE sent = 0 AND bundle ="
            " (SELECT bundle FROM windows WHERE sent = 0 GROUP BY bundle"
            "  HAVING count(*) > 1 ORDER BY min(seq) LIMIT 1) ORDER BY seq LIMIT 2"
        )
        while to.execute(size).fetchone()[0] > self._most:
            rows = to.execute(pair).fetchall()
            if not rows:
                return
            (keep, first), (drop, second) = rows
            merged = merge(Window.model_validate_json(first), Window.model_validate_json(second))
            update = "UPDATE windows SET payload = ? WHERE id = ?"
            to.execute(update, (merged.model_dump_json(), keep))
            to.execute("DELETE FROM windows WHERE id = ?", (drop,))
            logger.info("merge.done window=%s answers=%d", keep, merged.answers)


def merge(first: Window, second: Window) -> Window:
    """One window of all that both saw, under the first one's id. Both are of one variant."""
    profile = Profile.from_json(first.sketches)
    profile.merge(Profile.from_json(second.sketches))
    return first.model_copy(
        update={
            "began": min(first.began, second.began),
            "ended": max(first.ended, second.ended),
            "answers": first.answers + second.answers,
            "errors": first.errors + second.errors,
            "unlogged": first.unlogged + second.unlogged,
            "confirmed": first.confirmed + second.confirmed,
            "complaints": first.complaints + second.complaints,
            "quality": first.quality + second.quality,
            "sketches": profile.to_json(),
        }
    )
