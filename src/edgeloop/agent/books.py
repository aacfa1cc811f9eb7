"""What a device writes down: each in a file of its own, under the agent's folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.agent.complaints import Complaints
from edgeloop.agent.earlier import Earlier
from edgeloop.agent.journal import Journal
from edgeloop.agent.recent import Recent
from edgeloop.agent.samples import Samples
from edgeloop.agent.signals import Signals

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.agent.settings import Settings
    from edgeloop.clock import Clock


@dataclass(frozen=True, kw_only=True)
class Books:
    """Where answers, and what people say of them, are written down."""

    journal: Journal
    signals: Signals
    samples: Samples
    recent: Recent
    earlier: Earlier
    complaints: Complaints

    def close(self) -> None:
        """Let go of every file; open windows are lost unless they were closed before."""
        self.signals.close()
        self.samples.close()
        self.earlier.close()
        self.complaints.close()
        self.journal.close()


def open_books(folder: Path, told: Settings, clock: Clock) -> Books:
    """The books of an enrolled folder."""
    return Books(
        journal=Journal(folder / "journal.sqlite", told.journal_rows),
        signals=Signals(
            folder / "signals.sqlite",
            clock,
            answers=told.window_answers,
            seconds=told.window_seconds,
            most_bytes=told.signals_bytes,
        ),
        samples=Samples(
            folder / "samples.sqlite",
            clock,
            opted_in=told.opt_in,
            most_bytes=told.samples_bytes,
            per_day=told.samples_per_day,
        ),
        recent=Recent(),
        earlier=Earlier(folder / "earlier.sqlite"),
        complaints=Complaints(folder / "complaints.sqlite"),
    )
