"""Files come no faster than a plan or a device allows: bytes are counted, the clock is faked."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.test_update import good, installed
from tests.agent.test_waiting import (
    CHARGING,
    ON_BATTERY,
    PLAN,
    device,
    offered,
    report,
    steps,
    waits,
)
from tests.agent.world import World

from edgeloop.agent import gate, own_conditions
from edgeloop.agent.blobs import Blobs
from edgeloop.agent.gate import PausedError
from edgeloop.agent.home import UNPACED
from edgeloop.agent.mirrors import Mirrors
from edgeloop.agent.sources import Folder, Server
from edgeloop.agent.transport import BURST_SECONDS, Allowance, Pace, Reply, paced
from edgeloop.errors import UnreachableError
from edgeloop.protocol.messages import Conditions
from edgeloop.testing.clock import FakeClock
from edgeloop.types import Layer

LIMIT = 2000  # bytes per second
DIGEST = "sha256:" + "a" * 64


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 30)), min_size=1, max_size=30))
def test_in_no_stretch_of_time_more_comes_than_the_rate_and_one_burst(
    pieces: list[tuple[int, float]],
) -> None:
    clock = FakeClock()
    allowance, came = Allowance(clock), [(clock.monotonic(), 0)]
    for size, idle in pieces:
        clock.sleep(idle)
        allowance.spend(size, LIMIT)
        came.append((clock.monotonic(), size))
    for first, last in itertools.combinations(range(len(came)), 2):
        passed = came[last][0] - came[first][0]
        size = sum(size for _, size in came[first + 1 : last + 1])
        assert size <= LIMIT * (passed + BURST_SECONDS) + 1e-3


def server(clock: FakeClock, size: int, *, seconds_each: float = 0.0) -> Server:
    """Gives ``size`` bytes in pieces of 1,000, each after so many seconds."""

    def pieces() -> Iterator[bytes]:
        for _ in range(size // 1000):
            clock.sleep(seconds_each)
            yield b"x" * 1000

    def read(digest: str, first: int, most: int) -> Reply:
        return Reply(status=200, headers={}, chunks=pieces())

    return Server(name="server", read=read)


def limited(clock: FakeClock, source: Server, pace: Pace) -> Mirrors:
    return Mirrors([], source, clock, pace, limit=lambda: LIMIT)


def test_a_limited_download_takes_its_time_and_is_not_called_slow() -> None:
    clock = FakeClock()
    pace = Pace(bytes_per_second=10 * LIMIT, window_seconds=20)
    mirrors = limited(clock, server(clock, 100_000), pace)
    assert sum(map(len, mirrors.read(DIGEST, 0, 100_000).chunks)) == 100_000
    assert clock.monotonic() == pytest.approx(100_000 / LIMIT, abs=BURST_SECONDS)


def test_a_server_that_is_slow_is_left_in_a_limited_download_too() -> None:
    clock = FakeClock()
    mirrors = limited(clock, server(clock, 100_000, seconds_each=1.5), Pace())
    with pytest.raises(UnreachableError) as caught:
        list(mirrors.read(DIGEST, 0, 100_000).chunks)
    assert str(caught.value) == (
        f"[E601] blob {DIGEST} must come at 1024 bytes/s or more, got 667 bytes/s over 21 s"
    )


def test_what_is_done_with_a_piece_is_no_slowness_of_its_sender() -> None:
    clock = FakeClock()
    for _ in paced("it", iter([b"x"] * 50), clock, Pace(bytes_per_second=1e6)):
        clock.sleep(30)


def test_a_folder_of_this_device_has_no_limit(tmp_path: Path) -> None:
    clock = FakeClock()
    (tmp_path / DIGEST.removeprefix("sha256:")).write_bytes(b"x" * 100_000)
    mirrors = Mirrors([Folder(path=tmp_path)], server(clock, 0), clock, Pace(), limit=lambda: LIMIT)
    assert sum(map(len, mirrors.read(DIGEST, 0, 100_000).chunks)) == 100_000
    assert clock.monotonic() == 0


@pytest.mark.parametrize(("plan", "own"), [(1024, None), (None, 1024), (1024, 9999), (9999, 1024)])
def test_a_device_keeps_to_the_plans_limit_and_to_its_own(
    world: World, plan: int | None, own: int | None
) -> None:
    before, _ = installed(world)
    own_conditions.change(device(world), {"bandwidth": own})
    fetched, waited = world.agent.report().fetched, 0.0
    limited = PLAN.model_copy(update={"bandwidth": plan})
    world.plane.wish(world.factory.publish(good(world, before), limited), 2)
    for _ in range(20):
        began = world.clock.monotonic()
        wait = world.agent.tick()
        waited += world.clock.monotonic() - began  # in the tick itself
        world.clock.sleep(wait)
    came = world.agent.report().fetched - fetched
    assert came > 8 * 1024
    assert waited == pytest.approx(came / 1024, abs=2 * BURST_SECONDS)


def test_a_long_download_from_who_cannot_resume_comes_to_its_end(
    world: World, tmp_path: Path
) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True))
    steps(world, 5)
    assert waits(world) == ("downloading", "power from outside")
    world.fleet.readings = CHARGING
    clock, size, looks = world.clock, 400_000, 0
    whole = server(clock, size, seconds_each=1.0)
    mirrors = Mirrors([], whole, clock, UNPACED, came=world.agent._gate.came)
    blobs = Blobs(tmp_path, mirrors.read, clock, UNPACED)
    digest = hashlib.sha256(b"x" * size).hexdigest()
    layer = Layer(name="model.onnx", digest=f"sha256:{digest}", size=size)
    while looks < 9 and not blobs.path(layer.digest).exists():
        assert world.agent._gate.passes()
        looks += 1
        with suppress(PausedError):
            blobs.get(layer)
    assert looks == 4, "each look but the first must bring as much again as was here"


def test_a_long_download_is_heard_of_and_can_be_withdrawn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "SLICE_SECONDS", 2)
    before, ref = installed(world)
    told = world.agent.settings.model_copy(update={"report_seconds": 1})
    object.__setattr__(world.agent._home, "told", told)
    limited = PLAN.model_copy(update={"bandwidth": 1024})
    world.plane.wish(world.factory.publish(good(world, before), limited), 2)

    for _ in range(20):
        world.clock.sleep(world.agent.tick())
        if sum(one["state"] == "downloading" for one in world.plane.reports) >= 2:
            break
    fetched = [one["fetched"] for one in world.plane.reports if one["state"] == "downloading"]
    assert len(fetched) == 2
    assert fetched == sorted(set(fetched)), "each report must say that more has come"
    world.plane.wish(ref, 1)
    world.fleet.until(lambda: report(world)["state"] == "idle")
    assert not list((device(world) / "partial").iterdir())
