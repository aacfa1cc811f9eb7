"""Raw inputs that go home: only where the device opted in, only confirmed ones, within a budget."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeloop import arrayfiles
from edgeloop.agent.database import Database
from edgeloop.protocol import messages

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.agent.recent import Given
    from edgeloop.clock import Clock
    from edgeloop.types import Json

BATCH = 100  # samples in one message
BATCH_BYTES = 1 << 19
PER_DAY = 500  # samples

SCHEMA = """
CREATE TABLE IF NOT EXISTS samples (
    answer TEXT PRIMARY KEY,
    request INTEGER NOT NULL,
    payload TEXT  -- NULL once the control plane has it: the row stays, so that it counts once
);
CREATE TABLE IF NOT EXISTS departed (  -- outlives its request: new requests give no new day
    answer TEXT PRIMARY KEY,
    day INTEGER NOT NULL
);
"""


class Samples:
    """Samples for one open request at a time. ``opted_in`` False: none are ever kept.

    ``per_day`` is how many may leave in one day (UTC), whatever the control plane asks for.
    """

    def __init__(
        self, path: Path, clock: Clock, *, opted_in: bool, most_bytes: int, per_day: int = PER_DAY
    ) -> None:
        # lasting: what left the device counts for its day, whatever happens to its power
        self._database, self._clock = Database(path, SCHEMA, lasting=True), clock
        self._opted_in, self._most, self._per_day = opted_in, most_bytes, per_day
        self._request: messages.SampleRequest | None = None
        self._since = 0.0

    @property
    def opted_in(self) -> bool:
        """Whether inputs may leave this device at all."""
        return self._opted_in

    def ask(self, request: messages.SampleRequest | None) -> None:
        """The control plane's present request; None when it has none. Old ones are forgotten."""
        if not self._opted_in or request == self._request:
            return
        if request is not None and (self._request is None or request.id != self._request.id):
            self._since = self._clock.now()
        self._request = request
        with self._database.writing() as to:
            gone = -1 if request is None else request.id
            to.execute("DELETE FROM samples WHERE request != ?", (gone,))

    def offer(self, answer_id: str, given: Given, truth: Json, complaint: str = "") -> None:
        """Keep an input whose answer a person confirmed, when it is asked for and fits the budget.

        Only answers given after the request came are taken.
        """
        request = self._request
        if request is None or given.feed is None or given.time < self._since:
            return
        said = {"truth": truth} | ({"complaint": complaint} if complaint else {})
        payload = json.dumps({"inputs": arrayfiles.encoded(given.feed), **said})
        count, size = self._database.rows(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM samples"
        )[0]
        if count >= request.count or size + len(payload) > self._most:
            return
        with self._database.writing() as to:
            insert = "INSERT OR IGNORE INTO samples (answer, request, payload) VALUES (?,?,?)"
            to.execute(insert, (answer_id, request.id, payload))

    def batch(self) -> messages.Samples | None:
        """What to send next; None when nothing waits, or none may leave today any more.

        What it names counts for today, sent or not; the same again does not count twice.
        """
        request = self._request
        if request is None:
            return None
        rows: list[messages.Sample] = []
        size = 0
        for answer, payload in self._may_leave(request):
            size += len(payload)
            if rows and size > BATCH_BYTES:
                break
            rows.append(messages.Sample(answer=answer, **json.loads(payload)))
        self._count(rows)
        return messages.Samples(request=request.id, samples=tuple(rows)) if rows else None

    def _may_leave(self, request: messages.SampleRequest) -> list[tuple[str, str]]:
        """Answer and payload: those that were counted before, then as many as today has left."""
        counted = "SELECT count(*) FROM departed WHERE day >= ?"
        left = self._per_day - self._database.rows(counted, self._today())[0][0]
        query = (
            "SELECT answer, payload FROM samples WHERE request = ? AND payload IS NOT NULL"
            " AND answer {} (SELECT answer FROM departed) ORDER BY rowid LIMIT ?"
        )
        again = self._database.rows(query.format("IN"), request.id, BATCH)
        most = max(0, min(left, BATCH - len(again)))
        return again + self._database.rows(query.format("NOT IN"), request.id, most)

    def _count(self, rows: list[messages.Sample]) -> None:
        if rows:
            with self._database.writing() as to:
                to.execute("DELETE FROM departed WHERE day < ?", (self._today(),))
                insert = "INSERT OR IGNORE INTO departed (answer, day) VALUES (?,?)"
                to.executemany(insert, [(row.answer, self._today()) for row in rows])

    def _today(self) -> int:
        return int(self._clock.now() // 86_400)

    def acknowledged(self, batch: messages.Samples) -> None:
        """The control plane has these."""
        with self._database.writing() as to:
            sent = [(sample.answer,) for sample in batch.samples]
            to.executemany("UPDATE samples SET payload = NULL WHERE answer = ?", sent)

    def close(self) -> None:
        """Close the file."""
        self._database.close()
