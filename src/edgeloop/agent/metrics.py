"""What an agent's endpoint counts, in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from edgeloop.errors import NoSlotError

if TYPE_CHECKING:
    from edgeloop.agent.agent import Agent

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATH = "/metrics"


class Meter:
    """Counts requests for inference. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers, self._seconds = 0, 0.0
        self._errors: Counter[str] = Counter()

    def answered(self, seconds: float) -> None:
        """One request got its answer."""
        with self._lock:
            self._answers += 1
            self._seconds += seconds

    def failed(self, number: str) -> None:
        """One request got an error of that number."""
        with self._lock:
            self._errors[number] += 1

    def written(self, agent: Agent) -> str:
        """All of it, with the release in charge."""
        with self._lock:
            answers, seconds, errors = self._answers, self._seconds, sorted(self._errors.items())
        lines = [
            *_about("edgeloop_answers_total", "counter", "Requests that were answered."),
            f"edgeloop_answers_total {answers}",
            *_about("edgeloop_errors_total", "counter", "Requests that got an error, by number."),
            *(f'edgeloop_errors_total{{number="{number}"}} {count}' for number, count in errors),
            *_about("edgeloop_answer_seconds", "summary", "From a request's head to its answer."),
            f"edgeloop_answer_seconds_sum {seconds:.6f}",
            f"edgeloop_answer_seconds_count {answers}",
            *_about("edgeloop_ready", "gauge", "1 where a release is in charge."),
            f"edgeloop_ready {int(agent.ready)}",
            *_release(agent),
        ]
        return "\n".join(lines) + "\n"


def _about(name: str, kind: str, meaning: str) -> tuple[str, str]:
    return f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"


def _release(agent: Agent) -> list[str]:
    try:
        ref = agent.slot().ref
    except NoSlotError:
        return []
    labels = f'model="{agent.settings.model}",version="{ref.version}",bundle="{ref.digest}"'
    about = _about("edgeloop_release_info", "gauge", "The release in charge.")
    return [*about, f"edgeloop_release_info{{{labels}}} 1"]
