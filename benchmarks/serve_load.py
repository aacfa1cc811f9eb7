"""How many answers a second an agent serves over HTTP, beside the same model called directly."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from edgeloop.agent.loaded import load
from edgeloop.agent.slots import Slots
from edgeloop.loop.file import load_loop
from environments import template_loop
from figure import Figure, Measured, main
from idle_agent import LISTEN, Plane, agent, control_plane, until

SECONDS = 5.0  # of each measurement
REPEATS = 3
SIZE = 28
BODY = {
    "inputs": [
        {
            "name": "image",
            "shape": [1, SIZE, SIZE],
            "datatype": "UINT8",
            "data": [place % 256 for place in range(SIZE * SIZE)],
        }
    ]
}


def measure(work: Path) -> Measured:
    """One agent with the template's release; the client is another process on this machine."""
    work.mkdir(parents=True, exist_ok=True)
    loop = load_loop(template_loop(work))
    with control_plane(Path(mkdtemp(dir=work, prefix="fleet-")), loop) as plane:
        python = Path(sys.executable)
        folder = plane.enrol(python)
        with agent(python, folder, *LISTEN):
            url = ready(plane, folder)
            rates = {count: _rates(url, loop.name, count) for count in (1, 8)}
        direct = [_rate(_direct(folder), 1) for _ in range(REPEATS)]
    figures = [_figure(f"over HTTP, connections: {n}", one) for n, one in rates.items()]
    figures.append(_figure("session called directly, one thread", direct))
    samples = {f"answers/s, connections: {count}": one for count, one in rates.items()}
    return Measured(figures=tuple(figures), samples={**samples, "answers/s, direct": direct})


def ready(plane: Plane, folder: Path) -> str:
    """The address of an agent that has release 1 in charge, its probation behind it."""
    until((folder / "endpoint.json").exists, "the agent must come up")
    url = str(json.loads((folder / "endpoint.json").read_text())["url"])
    channel = plane.loop.settings.release.channel
    plane.client.create_rollout(plane.loop.name, channel, 1)

    def runs() -> bool:
        report = plane.client.device(folder.name).report
        return report is not None and report.running is not None

    until(runs, "the device must run release 1")
    _asking(url, plane.loop.name)()  # one connection, warm
    return url


def _asking(url: str, model: str) -> Callable[[], Callable[[], None]]:
    """Makes a connection, which asks once per call."""
    body, head = json.dumps(BODY).encode(), {"Content-Type": "application/json"}

    def connected() -> Callable[[], None]:
        connection = HTTPConnection(url.removeprefix("http://"), timeout=60)

        def ask() -> None:
            connection.request("POST", f"/v2/models/{model}/infer", body, head)
            reply = connection.getresponse()
            reply.read()
            if reply.status != 200:
                raise RuntimeError(f"an answer came with {reply.status}")

        return ask

    return connected


def _direct(folder: Path) -> Callable[[], Callable[[], None]]:
    """Makes a session of the device's slot, which runs one row per call."""
    slots = Slots(folder)
    ref = slots.now.current
    if ref is None:
        raise RuntimeError("the device must have a slot")
    slot = load(ref, slots.open(ref), 1)
    row = {"image": np.arange(SIZE * SIZE, dtype=np.uint8).reshape(1, SIZE, SIZE)}

    def opened() -> Callable[[], None]:
        return lambda: slot.run(row) and None

    return opened


def _rates(url: str, model: str, connections: int) -> list[float]:
    return [_rate(_asking(url, model), connections) for _ in range(REPEATS)]


def _rate(opened: Callable[[], Callable[[], None]], workers: int) -> float:
    """Calls per second of all workers together."""
    counts, ends = [0] * workers, time.perf_counter() + SECONDS

    def work(place: int) -> None:
        ask = opened()
        while time.perf_counter() < ends:
            ask()
            counts[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(workers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def _figure(what: str, rates: list[float]) -> Figure:
    low, middle, high = sorted(rates)
    value = f"{middle:.0f} answers/s ({low:.0f} to {high:.0f}), {SECONDS:.0f} s each"
    return Figure(what=what, value=value)


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
