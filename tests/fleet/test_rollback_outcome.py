"""A rollback that a device did not follow: its job, the log and the rollout say so."""

from __future__ import annotations

from fleet_bench import Bench, Device, digest, plan

from edgeloop.protocol.messages import Group

EVERYBODY = Group(select="all", stages=("100%",))


def rolled_back(bench: Bench, *names: str) -> tuple[dict[str, Device], int]:
    """Devices that ran releases 1 and 2, and the number of the rollback to 1."""
    devices = {name: bench.device(name) for name in names}
    for version in (1, 2):
        bench.list_release(version, plan(EVERYBODY, soak_seconds=0))
        bench.go(version)
        for device in devices.values():
            device.runs(version)
    return devices, bench.operator.roll_back(2, version=1).id


def failed(rollout: int) -> dict[str, object]:
    """What a device says that could not go back to release 1."""
    return {
        "digest": digest(1),
        "rollout": rollout,
        "result": "FAILED_ROLLBACK_COMPLETE",
        "reason": "golden sample 3 differs",
    }


def test_a_rollback_that_a_device_did_not_follow_ends_as_incomplete(bench: Bench) -> None:
    devices, back = rolled_back(bench, "good", "bad")
    devices["bad"].report(running=2, outcome=failed(back))
    assert bench.operator.rollout(back).state == "running"  # the other one is still asked
    devices["good"].runs(1)
    view = bench.operator.rollout(back)
    assert (view.state, view.undoes, view.counts) == (
        "incomplete",
        2,
        {"SUCCEEDED": 1, "FAILED": 1},
    )
    assert view.reason == "1 of 2 devices are not back: bad is FAILED, runs release 2"
    assert bench.actions("rollout.")[-1] == "rollout.incomplete"


def test_the_log_says_which_device_did_not_go_back_and_what_it_runs(bench: Bench) -> None:
    devices, back = rolled_back(bench, "bad")
    devices["bad"].report(running=2, outcome=failed(back))
    (line,) = [line for line in bench.operator.audit() if line.action == "device.not_rolled_back"]
    assert (line.actor, line.subject) == ("rules", f"device:{devices['bad'].id}")
    assert line.detail == {
        "rollout": back,
        "undoes": 2,
        "version": 1,
        "runs": 2,
        "state": "FAILED",
        "reason": "FAILED_ROLLBACK_COMPLETE: golden sample 3 differs",
    }


def test_a_device_is_not_sent_to_a_release_again_that_it_could_not_go_back_to(
    bench: Bench,
) -> None:
    devices, back = rolled_back(bench, "bad")
    bench.lists["sorter", "stable"].pop()  # release 2 is delisted
    assert devices["bad"].desired().json()["release"]["version"] == 1
    devices["bad"].report(running=2, outcome=failed(back))
    assert devices["bad"].desired().json()["release"] is None


def test_a_rollback_that_everybody_followed_is_finished(bench: Bench) -> None:
    devices, back = rolled_back(bench, "a", "b")
    for device in devices.values():
        device.runs(1)
    view = bench.operator.rollout(back)
    assert (view.state, view.reason) == ("finished", "")
    assert bench.actions("device.not_rolled_back") == []


def test_an_incomplete_rollback_can_be_tried_again(bench: Bench) -> None:
    devices, back = rolled_back(bench, "bad")
    devices["bad"].report(running=2, outcome=failed(back))
    again = bench.operator.roll_back(back, version=1).id
    assert devices["bad"].desired().json()["rollout"] == again
    devices["bad"].runs(1)
    assert bench.operator.rollout(again).state == "finished"
