"""A device with several graphs of one release: it uses the one that fits now, and never none."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
from tests.agent.several import FULL, installed, several
from tests.agent.world import World, pictures

from edgeloop.agent import picker
from edgeloop.agent.loaded import Loaded
from edgeloop.agent.readings import Readings
from edgeloop.agent.variants import HOLD, REST
from edgeloop.errors import ModelError
from edgeloop.protocol.messages import Result
from edgeloop.release.bundle import DeviceLimits

LOW = Readings(battery_percent=20, charging=False)
HIGH = Readings(battery_percent=80, charging=False)


def two(world: World, main: dict[str, Any] | None = None, **fine: Any) -> None:
    """A release whose variant ``fine`` wants half a battery."""
    installed(world, several(world.factory, {"scale": 0.005, **(main or {})}, fine=(FULL, fine)))


def asked(world: World) -> str:
    return world.agent.answer({"image": pictures(5, 1)[0]}).variant


def later(world: World, seconds: float) -> str:
    """The variant that answers when time has passed, some answers in between."""
    for _ in range(int(seconds / 5)):
        world.fleet.step(5)
    return asked(world)


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let variants of these names no longer load."""
    real = picker.load

    def load(ref: Any, bundle: Any, threads: int, name: str = "main") -> Loaded:
        if name in names:
            raise ModelError("model file model.onnx", "must load here")
        return real(ref, bundle, threads, name)

    monkeypatch.setattr(picker, "load", load)


def test_conditions_change_and_the_other_graph_answers_and_then_the_first_again(
    world: World,
) -> None:
    world.fleet.readings = HIGH
    two(world)
    assert asked(world) == "fine"
    world.fleet.readings = LOW
    assert later(world, 5) == "main"
    report = world.plane.reports[-1]
    assert (report["variant"], report["passed_over"]) == (
        "main",
        {"fine": "battery 20 %, needs 50 %"},
    )
    world.fleet.readings = HIGH
    assert later(world, HOLD - 10) == "main"
    assert later(world, 20) == "fine"
    assert world.plane.reports[-1]["variant"] == "fine"
    assert world.plane.reports[-1]["passed_over"] == {}


def test_each_answer_and_window_names_its_graph(world: World) -> None:
    world.fleet.readings = HIGH
    two(world)
    image = pictures(5, 1)[0]
    fine = world.agent.answer({"image": image})
    world.fleet.readings = LOW
    world.fleet.step(5)
    main = world.agent.answer({"image": image})
    assert not np.allclose(fine.outputs["probabilities"], main.outputs["probabilities"])
    found = [world.agent._books.journal.find(one.id) for one in (fine, main)]
    assert [one and one.variant for one in found] == ["fine", "main"]
    world.agent.hand_over()
    assert {one["variant"] for one in world.plane.windows.values()} == {"fine", "main"}


def test_a_graph_that_does_not_load_is_passed_over_at_the_admission(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "fine")
    two(world)
    assert asked(world) == "main"
    outcome = world.plane.reports[-1]["outcome"]
    assert outcome["result"] == Result.SUCCESSFUL
    why = "fine.load: [E120] model file model.onnx must load here"
    assert outcome["evidence"]["passed over"] == {"fine": why}


@pytest.mark.parametrize(
    ("fine", "why"),
    [
        (
            {"golden_shift": 0.5},
            "0.000 of 8 golden samples, limit >= 1 within 0.01",
        ),
        ({"limits": DeviceLimits(latency_ms=0.3)}, "p95 1.00 ms is above the limit 0.3 ms"),
    ],
)
def test_a_graph_that_is_wrong_or_too_slow_here_is_passed_over_at_the_admission(
    world: World, fine: dict[str, Any], why: str
) -> None:
    two(world, **fine)
    assert asked(world) == "main"
    assert why in world.plane.reports[-1]["outcome"]["evidence"]["passed over"]["fine"]


def test_a_release_none_of_whose_graphs_passes_is_refused_and_each_is_named(
    world: World,
) -> None:
    two(world, main={"golden_shift": 0.5}, golden_shift=0.5)
    outcome = world.plane.reports[-1]["outcome"]
    assert outcome["result"] == Result.FAILED_NO_STATE_CHANGE
    assert set(outcome["evidence"]["admission"]) >= {"fine.golden_parity", "main.golden_parity"}
    assert "fine.golden_parity: 0.000 of 8" in outcome["reason"]


def test_a_restart_answers_when_the_preferred_graph_no_longer_loads(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(world)
    refuse(monkeypatch, "fine")
    world.fleet.cut_power("d1")
    world.fleet.start("d1")
    assert asked(world) == "main"
    world.fleet.step(5)
    why = world.plane.reports[-1]["passed_over"]
    assert why == {"fine": "[E120] model file model.onnx must load here"}
    monkeypatch.undo()
    assert later(world, REST + 10) == "fine"


def test_a_graph_that_ended_the_process_twice_at_its_start_is_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(world)
    folder = world.fleet._folder / "d1"
    world.fleet.cut_power("d1")
    digest = world.plane.desired.release.digest  # type: ignore[union-attr]
    (folder / "variants.json").write_text(json.dumps({"starts": {digest: {"fine": 2}}}))
    world.fleet.start("d1")
    assert asked(world) == "main"
    later(world, HOLD)
    world.fleet.step(5)
    why = world.plane.reports[-1]["passed_over"]
    assert why == {"fine": "the process ended in 2 starts with it"}


def test_a_graph_that_lasted_is_not_counted_as_a_crash(world: World) -> None:
    two(world)
    for _ in range(3):
        world.fleet.cut_power("d1")
        world.fleet.start("d1")
        assert later(world, HOLD + 10) == "fine"


def test_a_graph_that_is_wrong_where_it_is_wanted_does_not_come_in_charge(world: World) -> None:
    world.fleet.readings = LOW
    two(world, golden_shift=0.5)
    world.fleet.readings = HIGH
    assert later(world, HOLD + 10) == "main"


def test_a_graph_that_fails_in_use_gives_way_and_the_request_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(world)
    real = Loaded.run

    def run(slot: Loaded, feed: Any) -> Any:
        if slot.variant == "fine":
            raise ModelError("bundle x", "must answer", got="a fault")
        return real(slot, feed)

    monkeypatch.setattr(Loaded, "run", run)
    assert asked(world) == "main"
    monkeypatch.undo()
    assert asked(world) == "main"
    world.agent.hand_over()
    why = "[E120] bundle x must answer, got a fault"
    assert world.plane.reports[-1]["passed_over"] == {"fine": why}
    failed = [one for one in world.plane.windows.values() if one["errors"]]
    assert [(one["variant"], one["errors"]) for one in failed] == [("fine", 1)]
    assert later(world, REST + 10) == "fine"


def test_a_row_that_no_graph_can_answer_blames_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(world)
    real = Loaded.run

    def run(slot: Loaded, feed: Any) -> Any:
        if len(feed["image"]) == 1:  # a request; golden samples are more
            raise ModelError("bundle x", "must answer", got="a fault")
        return real(slot, feed)

    with monkeypatch.context() as patched:
        patched.setattr(Loaded, "run", run)
        with pytest.raises(ModelError):
            asked(world)
    assert later(world, 10) == "fine"


def test_a_graph_that_is_far_too_slow_in_use_gives_way_and_comes_back(world: World) -> None:
    installed(world, world.factory.bundle())
    limits = DeviceLimits(latency_ms=0.3)  # as slow as the current slot: not to blame for it
    two(world, limits=limits)
    assert world.plane.reports[-1]["outcome"]["result"] == Result.SUCCESSFUL
    assert later(world, 60) == "main"
    world.fleet.step(5)
    why = world.plane.reports[-1]["passed_over"]["fine"]
    assert why == "half of 40 answers took 1.0 ms or more, limit 0.3 ms"
    assert "fine" in {later(world, 5) for _ in range(int(REST / 5))}


def test_no_request_is_lost_or_mixed_while_graphs_change(world: World) -> None:
    world.fleet.readings = HIGH
    two(world)
    image = pictures(5, 1)[0]
    right = {"fine": None, "main": None}
    stop, wrong, answered = threading.Event(), list[str](), [0]
    for readings, name in ((HIGH, "fine"), (LOW, "main")):
        world.fleet.readings = readings
        world.fleet.step(5)
        right[name] = world.agent.answer({"image": image}).outputs["probabilities"]

    def ask() -> None:
        while not stop.is_set():
            answer = world.agent.answer({"image": image})
            answered[0] += 1
            if not np.array_equal(answer.outputs["probabilities"], right[answer.variant]):
                wrong.append(answer.id)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for one in asking:
        one.start()
    changed = set()
    for turn in range(10):
        world.fleet.readings = HIGH if turn % 2 else LOW
        world.clock.sleep(HOLD + 10)
        world.agent._picker.look()
        world.clock.sleep(HOLD + 10)
        world.agent._picker.look()
        changed.add(world.agent.slot().variant)
    stop.set()
    for one in asking:
        one.join()
    assert (wrong, changed) == ([], {"fine", "main"})
    assert answered[0] > 0


def test_a_graph_does_not_come_in_charge_where_an_update_was_quicker(world: World) -> None:
    two(world)
    answering, current = world.agent._answering, world.agent.slot()
    assert answering.exchange(current.fresh(), current) is False
    assert world.agent.slot() is current


def test_an_older_agent_reads_the_main_graph_of_a_bundle_with_variants(world: World) -> None:
    """What the agent of the last release looks at: the description without ``variants``."""
    bundle = several(world.factory, {"scale": 0.005}, fine=(FULL, {}))
    main = world.factory.bundle(scale=0.005)
    assert bundle.meta["format"] == 1
    new = {**bundle.meta, "variants": None}
    assert new["model"] == main.meta["model"] | {"notes": new["model"]["notes"]}
    names = {layer.name for layer in bundle.layers}
    assert names >= {"model.onnx", "golden.zip", "profile-0.json"}
    assert names >= {"fine.model.onnx", "fine.golden.zip", "fine.profile-0.json"}
