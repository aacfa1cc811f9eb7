"""A device that says what it waits for is neither silent nor failed, up to a deadline."""

from __future__ import annotations

from fleet_bench import Bench, Device, plan

from edgeloop.cli import device_table
from edgeloop.protocol.messages import Conditions, Group

ALL = Group(select="all", stages=(1, "100%"))
PLAN = plan(ALL, soak_seconds=0, conditions=Conditions(charging=True, deadline_seconds=1000))


def waits(device: Device, reason: str = "power from outside") -> None:
    reply = device.report(running=1, state="downloading", waiting=reason, moves=1)
    assert reply.status_code == 200, reply.text


def test_a_device_that_goes_on_saying_that_it_waits_is_not_timed_out(bench: Bench) -> None:
    device = bench.device("d1")
    bench.list_release(2, PLAN)
    rollout = bench.go(2)
    for _ in range(11):
        waits(device)
        bench.tick(99)
        assert bench.states(rollout) == {"d1": "IN_PROGRESS"}
    device.runs(2)
    assert bench.states(rollout) == {"d1": "SUCCEEDED"}


def test_a_device_that_waited_and_says_nothing_more_is_timed_out(bench: Bench) -> None:
    device = bench.device("d1")
    bench.list_release(2, PLAN)
    rollout = bench.go(2)
    bench.tick(50)
    waits(device)
    bench.tick(101)
    (job,) = bench.operator.rollout(rollout).jobs
    assert (job.state, job.reason) == (
        "TIMED_OUT",
        "nothing new from the device for 101 s, deadline 100 s",
    )


def test_a_device_that_waits_past_the_deadline_of_its_conditions_is_timed_out(
    bench: Bench,
) -> None:
    device = bench.device("d1")
    bench.list_release(2, PLAN)
    rollout = bench.go(2)
    for _ in range(12):
        waits(device)
        bench.tick(92)
    (job,) = bench.operator.rollout(rollout).jobs
    assert (job.state, job.reason) == (
        "TIMED_OUT",
        "it still waits for power from outside after 1104 s, limit 1100 s",
    )


def test_the_next_stage_waits_for_a_device_that_waits(bench: Bench) -> None:
    devices = {name: bench.device(name) for name in ("d1", "d2", "d3")}
    bench.list_release(2, PLAN)
    rollout = bench.go(2)
    (first,) = [name for name, state in bench.states(rollout).items() if state == "IN_PROGRESS"]
    for _ in range(5):
        waits(devices[first])
        bench.tick(90)
    assert sorted(bench.states(rollout).values()) == ["IN_PROGRESS", "QUEUED", "QUEUED"]
    devices[first].runs(2)
    bench.tick(1)
    assert sorted(bench.states(rollout).values()) == ["IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED"]


def test_operators_see_what_a_device_waits_for(bench: Bench) -> None:
    device = bench.device("d1")
    bench.list_release(2, PLAN)
    rollout = bench.go(2)
    waits(device)
    (job,) = bench.operator.rollout(rollout).jobs
    assert job.waiting == "power from outside"
    (view,) = bench.operator.devices()
    assert device_table.row(view, None)["waits_for"] == "power from outside"
    device.runs(2)
    (job,) = bench.operator.rollout(rollout).jobs
    assert job.waiting == ""
