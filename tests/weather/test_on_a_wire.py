"""A real agent and a real control plane, with bad weather on the wire between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.agent.world import Factory
from tests.processes.test_kills import Tale, judged

from edgeloop.agent.enrolment import enrol
from edgeloop.clock import SystemClock
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.process import command
from edgeloop.fleet.settings import Settings
from edgeloop.testing.processes import START_SECONDS, child
from edgeloop.testing.weather import Weather
from edgeloop.testing.weather_proxy import blowing

PATIENCE = 120.0  # seconds of one rollout


@contextmanager
def plane(work: Path, factory: Factory) -> Iterator[FleetClient]:
    """A control plane over http, on which a proxy can blow."""
    told = Settings(
        folder=work / "fleet",
        repository=factory.repository.folder,
        layout=factory.store.folder,
        poll_seconds=0.3,
        tick_seconds=0.3,
    )
    told.folder.mkdir()
    with child([*command(told), "--until-stdin-closes"], told.folder / "log"):
        end = time.monotonic() + START_SECONDS
        while not told.running_file.exists():
            assert time.monotonic() < end, (told.folder / "log").read_text()
            time.sleep(0.05)
        yield FleetClient.of_folder(told.folder)


def lived(work: Path, seed: int, share: float, rollouts: int) -> str:
    """Rollouts in bad weather, then calm; gives the lines of the table."""
    factory, clock = Factory(work, clock=SystemClock()), SystemClock()
    weather = Weather(seed, 0.0)
    with plane(work, factory) as fleet, blowing(fleet.url, weather, clock) as address:
        enrol(
            work / "devices" / "d1", server=address, token=fleet.create_token({}).token,
            name="d1", root=factory.repository.root(), model="sorter", journal_rows=10_000_000,
            window_answers=20, window_seconds=1.0, report_seconds=0.5,
        )  # fmt: skip
        tale = Tale(work=work, fleet=fleet, factory=factory)
        tale.next_rollout()  # so that the device has something to answer with, in calm
        with tale.device() as process:
            tale.until(lambda: fleet.rollouts()[-1].state.over, process)
            weather.share = share
            for _ in range(rollouts):
                tale.next_rollout()
                _until_over(tale, fleet)
            weather.share = 0.0
            time.sleep(3)  # what waits comes home
        _, _, line = judged(tale, -1, fleet.rollouts()).partition(", ")  # nobody was killed
        assert {str(one.state) for one in fleet.rollouts()} <= {"finished", "stopped"}
        running = fleet.device("d1").report.running
        assert tale.good is not None
        assert running is not None
        assert running.digest == tale.good.digest, f"seed {seed}"
        met = ", ".join(f"{kind} {count}" for kind, count in sorted(weather.met.items()))
        return f"{line}\nfaults on the wire {weather.met.total()} ({met}), seed {seed}"


def _until_over(tale: Tale, fleet: FleetClient) -> None:
    end = time.monotonic() + PATIENCE
    while not fleet.rollouts()[-1].state.over:
        assert time.monotonic() < end, (tale.work / "d1.log").read_text()[-3000:]
        time.sleep(0.1)


def test_a_device_comes_through_bad_weather_on_its_wire(tmp_path: Path) -> None:
    print(lived(tmp_path, seed=5, share=0.35, rollouts=2))


@pytest.mark.hard
def test_a_device_comes_through_twenty_rollouts_of_bad_weather(tmp_path: Path) -> None:
    print(lived(tmp_path, seed=6, share=0.2, rollouts=20))
