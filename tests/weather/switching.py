"""Slots that are switched back and forth while threads ask, and what each answer had to be."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from tests.agent.world import SERVER, Factory, Plane, pictures

from edgeloop.agent.agent import Agent
from edgeloop.agent.endpoint import serving
from edgeloop.plugins import get
from edgeloop.protocol.messages import Probation, ReleaseRef, RolloutPlan, State
from edgeloop.release.bundle import open_kept
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home
from edgeloop.types import Budget

PLAN = RolloutPlan(min_answers=5, probation=Probation(answers=20))
SCALES = (0.002, 0.0021)  # two models that agree on every label and on no probability
IMAGES = pictures(3, 16)
THREADS = 4
PATIENCE = 120.0  # seconds of one switch

Ask = Callable[[int], tuple[str, float]]  # which image -> bundle, probability of "left"


@dataclass
class Tally:
    """What the threads were answered."""

    asked: int = 0
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def table(self, switches: int) -> str:
        """For people."""
        rows = (
            ("slot switches", switches),
            ("answers", f"{self.asked}, {self.asked / self.seconds:.0f} a second"),
            ("by bundle", ", ".join(str(count) for count in self.by.values())),
            ("failed", len(self.failed)),
            ("mixed", len(self.mixed)),
        )
        return "\n".join(f"{what:16}{got}" for what, got in rows)


@dataclass
class Crowd:
    """Threads that ask ``rate`` times a second in all, half in process and half over HTTP."""

    agent: Agent
    url: str
    right: dict[str, list[float]]  # bundle -> probability for each image
    rate: float
    tally: Tally = field(default_factory=Tally)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, number: int) -> None:
        pause, due, asked = THREADS / self.rate, time.monotonic(), number
        address = self.url.removeprefix("http://")
        with closing(HTTPConnection(address, timeout=PATIENCE)) as wire:
            ask = self._directly() if number % 2 == 0 else self._over(wire)
            while not self.stop.is_set():
                self._one(ask, asked % len(IMAGES))
                asked += 1
                due += pause
                self.stop.wait(max(0.0, due - time.monotonic()))

    def _one(self, ask: Ask, image: int) -> None:
        try:
            bundle, left = ask(image)
        except Exception as fault:  # noqa: BLE001  (whatever it is, it is no answer)
            with self.lock:
                self.tally.asked += 1
                self.tally.failed.append(f"{type(fault).__name__}: {fault}")
            return
        with self.lock:
            self.tally.asked += 1
            self.tally.by[bundle] += 1
            if abs(left - self.right[bundle][image]) > 1e-6:
                self.tally.mixed.append(f"{bundle} answered {left} to image {image}")

    def _directly(self) -> Ask:
        def ask(image: int) -> tuple[str, float]:
            answer = self.agent.answer({"image": IMAGES[image]})
            return answer.bundle, float(answer.outputs["probabilities"][0, 0])

        return ask

    def _over(self, connection: HTTPConnection) -> Ask:
        def ask(image: int) -> tuple[str, float]:
            told = {"name": "image", "shape": [1, 4, 4], "datatype": "UINT8"}
            body = json.dumps({"inputs": [{**told, "data": IMAGES[image].ravel().tolist()}]})
            head = {"Content-Type": "application/json"}
            connection.request("POST", "/v2/models/sorter/infer", body, head)
            reply = connection.getresponse()
            said = json.loads(reply.read())
            assert reply.status == 200, said
            (given,) = (one for one in said["outputs"] if one["name"] == "probabilities")
            return said["parameters"]["bundle"], float(given["data"][0])

        return ask


def switched(folder: Path, switches: int, rate: float) -> Tally:
    """One agent that goes from one release to the other and back, ``switches`` times."""
    factory, clock = Factory(folder / "made"), FakeClock()
    refs, right = [], {}
    for scale in SCALES:
        bundle = factory.bundle(scale=scale)
        refs.append(factory.publish(bundle, PLAN))
        right[bundle.digest] = _answers(factory, bundle.digest)
    plane = Plane(factory, clock)
    home = Home(server=SERVER, model="sorter", root=factory.repository.root())
    with FakeFleet(folder / "fleet", home, plane, clock) as fleet:
        agent = fleet.add("d1", "token")
        fleet.traffic = lambda _: [({"image": IMAGES[0]}, None)] * 5
        _until_runs(fleet, plane, refs[0], 0)
        fleet.traffic = None
        with serving(agent, "127.0.0.1:0") as url:
            crowd = Crowd(agent=agent, url=url, right=right, rate=rate)
            return _under_load(crowd, fleet, plane, refs, switches)


def _under_load(
    crowd: Crowd, fleet: FakeFleet, plane: Plane, refs: list[ReleaseRef], switches: int
) -> Tally:
    threads = [threading.Thread(target=crowd.work, args=(n,)) for n in range(THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        for number in range(1, switches + 1):
            _until_runs(fleet, plane, refs[number % 2], number)
    finally:
        crowd.stop.set()
        for thread in threads:
            thread.join()
    crowd.tally.seconds = time.monotonic() - began
    return crowd.tally


def _until_runs(fleet: FakeFleet, plane: Plane, ref: ReleaseRef, rollout: int) -> None:
    """Wish for a release until it is committed; the clock of the polls is a fake one."""
    plane.wish(ref, rollout)
    agent, end = fleet.agents["d1"], time.monotonic() + PATIENCE
    while not (agent.state is State.COMMITTED and agent.slot().ref.digest == ref.digest):
        assert time.monotonic() < end, f"still {agent.state}: {agent.report().outcome}"
        fleet.step(2.0)
        time.sleep(0.01)


def _answers(factory: Factory, digest: str) -> list[float]:
    model = open_kept(factory.store, digest).model
    session = get("runtime", model.format)().load(model, Budget())
    given = (session.run({"image": image[np.newaxis]}) for image in IMAGES)
    return [float(one["probabilities"][0, 0]) for one in given]
