"""What devices follow beside their model: jobs of their own, beside those of the model."""

from __future__ import annotations

from typing import Any

from fleet_bench import Bench, Device, digest, plan, ref

from edgeloop.cli import device_table
from edgeloop.protocol.messages import Group

OS = "gateway-os"


def follower(bench: Bench, name: str) -> Device:
    device = bench.device(name)
    says(device)
    return device


def says(device: Device, running: int | None = None, **of_os: Any) -> None:
    also = {"name": OS, "kind": "firmware", "state": "idle"} | of_os
    if running:
        also["running"] = ref(running, OS).model_dump()
    assert device.report(also=[also]).status_code == 200


def test_a_device_has_a_job_of_its_model_and_one_of_what_it_follows(bench: Bench) -> None:
    device, _ = follower(bench, "gate-1"), bench.device("cam-1")
    bench.list_release(1, plan(Group(select="all", stages=("100%",))))
    bench.list_release(7, plan(min_answers=2), name=OS, needs=("payload.firmware",))
    model, firmware = bench.go(1), bench.go(7, OS)
    assert bench.states(firmware) == {"gate-1": "IN_PROGRESS"}  # the other one follows no firmware
    assert bench.states(model)["gate-1"] == "IN_PROGRESS"  # and neither takes the other's place
    told = device.desired().json()
    assert told["release"]["version"] == 1
    assert [(one["name"], one["release"]["version"]) for one in told["also"]] == [(OS, 7)]
    says(device, 7, state="committed", checks=2)
    assert bench.states(firmware) == {"gate-1": "SUCCEEDED"}
    assert bench.states(model)["gate-1"] == "IN_PROGRESS"


def test_operators_see_what_a_device_follows_beside_its_model(bench: Bench) -> None:
    device = follower(bench, "gate-1")
    told = [{"name": OS, "kind": "firmware", "running": ref(7, OS).model_dump()}]
    assert device.report(also=[*told, {"name": "camera", "kind": "firmware"}]).status_code == 200
    (view,) = bench.operator.devices()
    assert device_table.row(view, None)["also"] == "gateway-os 7, camera idle"
    bench.device("cam-1")
    assert device_table.row(bench.operator.device("cam-1"), None)["also"] is None


def test_what_a_device_follows_no_more_is_removed_from_its_rollout(bench: Bench) -> None:
    device = follower(bench, "gate-1")
    bench.list_release(7, name=OS)
    firmware = bench.go(7, OS)
    assert device.report().status_code == 200
    bench.tick()
    assert bench.states(firmware) == {"gate-1": "REMOVED"}
    assert device.desired().json()["also"] == []


def test_a_firmware_that_fails_is_not_offered_again(bench: Bench) -> None:
    device = follower(bench, "gate-1")
    bench.list_release(7, name=OS)
    firmware = bench.go(7, OS)
    outcome = {"digest": digest(7), "rollout": firmware, "result": "FAILED_ROLLBACK_COMPLETE"}
    says(device, state="rolled back", outcome=outcome)
    assert bench.states(firmware) == {"gate-1": "FAILED"}
    assert device.desired().json()["also"][0]["release"] is None


def test_a_pin_holds_for_the_model_alone(bench: Bench) -> None:
    device = follower(bench, "gate-1")
    bench.list_release(1)
    bench.list_release(7, name=OS)
    bench.operator.pin("gate-1", "sorter", "stable", 1)
    firmware = bench.go(7, OS)
    bench.tick()
    assert bench.states(firmware) == {"gate-1": "IN_PROGRESS"}
    told = device.desired().json()
    assert (told["release"]["version"], told["also"][0]["release"]["version"]) == (1, 7)
