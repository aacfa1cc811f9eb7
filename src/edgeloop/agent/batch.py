"""Answer every row of a folder or file, once, with an agent that ends behind it."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edgeloop import durable
from edgeloop.agent.states import BUSY
from edgeloop.errors import BatchError, DataError, EdgeloopError, InputMismatchError, ModelError
from edgeloop.protocol.messages import State

if TYPE_CHECKING:
    from edgeloop.agent.agent import Agent
    from edgeloop.agent.rows import Row
    from edgeloop.types import Json

logger = logging.getLogger(__name__)

TICKED_EACH = 32  # rows; fewer than a slot in probation lets wait
LOOKED_EACH = 0.5  # seconds


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Rows of the file of answers, those of an earlier run included."""

    rows: int
    failed: int
    kept: int  # of an earlier run
    whole: bool  # False: it was stopped before the last row


def settle(agent: Agent, seconds: float, stop: threading.Event) -> None:
    """Poll once, and install what the device should have, for ``seconds`` at the most.

    Without the control plane, a device that has a slot goes on at once.
    """
    ends = time.monotonic() + seconds
    while True:
        wait = agent.tick()
        installing = agent.state in BUSY and agent.state is not State.PROBATION
        left = ends - time.monotonic()
        if (agent.ready and not installing) or left <= 0:
            return
        if stop.wait(min(wait, left, LOOKED_EACH)):
            return


def answer_all(agent: Agent, rows: Iterable[Row], out: Path, stop: threading.Event) -> Tally:
    """Answer ``rows`` in order into ``out``, one JSON line each.

    Lines go to ``<out>.part``, which becomes ``out`` behind the last row. A run that was ended
    before goes on behind its last whole line, so that no row is there twice.

    Raises:
        BatchError: ``out`` is there already, or the part is of other rows.
        NoSlotError: no bundle is installed.
        DiskFullError: no room; what is written is kept.
    """
    with _Answers(out) as answers:
        for name, inputs in rows:
            if stop.is_set():
                break
            if answers.has(name):
                continue
            answers.add(_line(agent, name, inputs))
            if answers.rows % TICKED_EACH == 0:
                agent.tick()  # a slot in probation sees these rows, windows go home
        else:
            answers.finish()
        tally = answers.tally()
    agent.tick()
    agent.hand_over()
    logger.info("batch.done rows=%d failed=%d kept=%d", tally.rows, tally.failed, tally.kept)
    return tally


def _line(agent: Agent, name: str, inputs: Any) -> dict[str, Json]:
    try:
        if isinstance(inputs, EdgeloopError):
            raise inputs
        answer = agent.answer(inputs)
    except (InputMismatchError, DataError, ModelError) as fault:
        return {"row": name, "error": str(fault), "number": fault.number}
    return {
        "row": name,
        "answer_id": answer.id,
        "bundle": answer.bundle,
        "version": answer.version,
        "result": answer.result,
    }


class _Answers:
    """The file of answers, while it grows."""

    def __init__(self, out: Path) -> None:
        if out.exists():
            raise BatchError(
                f"file {out.name}", "must not be there yet", todo="Move it away, or name another"
            )
        self._out, self._part = out, out.with_name(f"{out.name}.part")
        with durable.room(out):
            self._part.touch()
        self._stream = self._part.open("r+b")
        self._end = 0  # behind the last whole line
        self._reading, self._whole = True, False
        self.rows = self._failed = self._kept = 0

    def has(self, name: str) -> bool:
        """Whether an earlier run answered the next row, which is ``name``."""
        line = self._next_kept()
        if not line:
            return False
        if line.get("row") != name:
            raise self._other(name, line.get("row"))
        self._kept += 1
        self._count(line)
        return True

    def add(self, line: dict[str, Json]) -> None:
        """Write a row's line before the next row is asked for."""
        with durable.room(self._out):
            self._stream.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            self._stream.flush()
        self._count(line)

    def finish(self) -> None:
        """Give the file its name: every row is in it."""
        if line := self._next_kept():
            raise self._other("none", line.get("row"))
        self._whole = True

    def tally(self) -> Tally:
        """What is in it."""
        return Tally(rows=self.rows, failed=self._failed, kept=self._kept, whole=self._whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._whole:
            os.fsync(self._stream.fileno())
        self._stream.close()
        if self._whole:
            durable.settle(self._part, self._out)

    def _next_kept(self) -> dict[str, Json]:
        """The next line of an earlier run; {} behind the last whole one, where writing begins."""
        if not self._reading:
            return {}
        line = self._stream.readline()
        if line.endswith(b"\n"):
            self._end += len(line)
            return self._parsed(line)
        self._reading = False
        self._stream.seek(self._end)
        self._stream.truncate()
        return {}

    def _parsed(self, line: bytes) -> dict[str, Json]:
        try:
            told: dict[str, Json] = dict(json.loads(line))
        except (ValueError, TypeError) as fault:
            raise self._other("a row", line[:40]) from fault
        return told

    def _count(self, line: dict[str, Json]) -> None:
        self.rows += 1
        self._failed += "error" in line

    def _other(self, wanted: object, got: object) -> BatchError:
        return BatchError(
            f"file {self._part.name}",
            "must be of the same rows",
            got=f"{got} in the place of {wanted}",
            todo="Move it away to begin anew",
        )
