"""What the agent adds to one answer, in process: log, signals and all, beside the bare runtime."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from edgeloop.agent.agent import Agent
from edgeloop.loop.file import load_loop
from edgeloop.protocol.messages import State
from environments import template_loop
from figure import Figure, Measured, main
from idle_agent import LISTEN, Plane, agent, answer, control_plane, until
from serve_load import SIZE, ready

MOST_MS = 0.2
WARM, ANSWERS = 500, 10_000


def measure(work: Path) -> Measured:
    """One device with the template's release; each answer beside a call of its session."""
    work.mkdir(parents=True, exist_ok=True)
    loop = load_loop(template_loop(work))
    with control_plane(Path(mkdtemp(dir=work, prefix="fleet-")), loop) as plane:
        folder = plane.enrol(Path(sys.executable))
        with agent(Path(sys.executable), folder, *LISTEN):
            ready(plane, folder)
            answer(folder, loop.name)  # until it is committed: one on trial goes back at a restart
            until(lambda: _rests(plane, folder), "the device must commit its release")
    with Agent.open(folder) as device:
        direct, whole = _timed(device)
    cost = [one - other for one, other in zip(whole, direct, strict=True)]
    middle = statistics.median(cost)
    figure = Figure(
        what="cost of the agent per answer over calling the runtime directly (p50, in process)",
        value=f"{middle:.3f} ms",
        target=f"{MOST_MS} ms or less",
        met=middle <= MOST_MS,
        reason="" if middle <= MOST_MS else "see the parts",
        parts=(
            f"the runtime directly: {_words(direct)}",
            f"the same row asked of the agent: {_words(whole)}",
            f"{ANSWERS} of each, one behind the other in turn, one thread",
        ),
    )
    kept = {"direct ms": direct[::10], "agent ms": whole[::10]}
    return Measured(figures=(figure,), samples=kept)


def _rests(plane: Plane, folder: Path) -> bool:
    report = plane.client.device(folder.name).report
    return report is not None and report.state is State.COMMITTED


def _timed(device: Agent) -> tuple[list[float], list[float]]:
    """Milliseconds of the session's run, and of the agent's answer to the same row."""
    row = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(1, SIZE, SIZE)
    session, feed, inputs = device.slot().session, {"image": row}, {"image": row[0]}
    direct, whole = [], []
    for number in range(WARM + ANSWERS):
        began = time.perf_counter()
        session.run(feed)
        middle = time.perf_counter()
        device.answer(inputs)
        ended = time.perf_counter()
        if number >= WARM:
            direct.append((middle - began) * 1000)
            whole.append((ended - middle) * 1000)
    return direct, whole


def _words(values: list[float]) -> str:
    shares = statistics.quantiles(values, n=100)
    return f"p50 {shares[49]:.3f} ms, p95 {shares[94]:.3f} ms, p99 {shares[98]:.3f} ms"


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
