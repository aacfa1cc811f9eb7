"""What a model that looks back sees after a start, beside another slot, and in charge again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.agent.world import World

from edgeloop import arrayfiles
from edgeloop.agent.agent import Agent
from edgeloop.agent.answering import InCharge
from edgeloop.agent.earlier import Earlier
from edgeloop.agent.probation import Shadow
from edgeloop.plugins import get
from edgeloop.protocol.messages import Result
from edgeloop.release.bundle import BundleDraft, BundleInfo, Golden
from edgeloop.types import AnswerSpec, Artifact, Budget, MadeBy, Model, TensorSpec

SIZE, HOUR = 8, 3600
START = np.datetime64("2026-01-01T00:00:00", "s")


def mean_of_window(path: Path, size: int = SIZE, times: float = 1.0) -> Model:
    """``times`` the mean of the newest ``size`` readings, as a forecast."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["history"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "times"], ["value"]),
        helper.make_node("Identity", ["value"], ["low"]),
        helper.make_node("Identity", ["value"], ["high"]),
    ]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "mean",
            [
                helper.make_tensor_value_info("time", TensorProto.INT64, ["n"]),
                helper.make_tensor_value_info("history", TensorProto.FLOAT, ["n", size]),
            ],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])
                for name in ("value", "low", "high")
            ],
            [numpy_helper.from_array(np.float32(times), "times")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    path.write_bytes(made.SerializeToString())
    return Model(
        format="onnx",
        answer=AnswerSpec(kind="series", params={"horizons": [1], "level": 0.9, "scale": 1.0}),
        inputs=(
            TensorSpec(name="time", dtype="datetime64[s]", shape=()),
            TensorSpec(name="value", dtype="float32", shape=()),
        ),
        files={"model.onnx": path},
        program=({"step": "window", "size": size, "every": HOUR}, {"step": "graph"}),
    )


def readings(first: int, count: int) -> dict[str, np.ndarray]:
    """Hour ``h`` has the reading ``h``."""
    hours = np.arange(first, first + count)
    return {"time": START + hours * HOUR, "value": hours.astype(np.float32)}


def bundle(world: World, **about: Any) -> Artifact:
    factory = world.factory
    factory.made += 1
    scratch = factory.folder / f"series-{factory.made}"
    scratch.mkdir()
    model = mean_of_window(scratch / "model.onnx", **about)
    golden = readings(0, 2 * SIZE)
    answers = get("runtime", "onnx")().load(model, Budget()).run(golden)
    columns = {f"in.{name}": values for name, values in golden.items()}
    columns |= {f"out.{name}": values for name, values in answers.items()}
    files = {**model.files, "golden.zip": arrayfiles.pack(columns, scratch / "golden.zip")}
    info = BundleInfo(
        name="sorter",
        runtime="onnx",
        golden=Golden(rows=2 * SIZE, tolerance={"any": 0.01}),
        model=model.to_meta(),
    )
    key = hashlib.sha256(str(factory.made).encode()).hexdigest()
    return factory.store.keep(
        BundleDraft(info=info, files=files), MadeBy(plugin="bundle.v1", key=key, source="")
    )


@pytest.fixture
def hours(world: World) -> World:
    """A device whose application asks once per step, each time an hour later."""

    def traffic(_: Agent) -> Iterator[tuple[dict[str, Any], Any]]:
        yield ask(world), None

    world.fleet.traffic = traffic
    return world


def ask(world: World) -> dict[str, np.ndarray]:
    world.asked += 1
    return {name: values[0] for name, values in readings(world.asked - 1, 1).items()}


def forecast(world: World) -> float:
    """What the slot in charge says now; the newest reading was that of hour ``asked - 1``."""
    return float(world.agent.answer(ask(world)).outputs["value"][0, 0])


def in_charge(world: World) -> InCharge:
    present = world.agent._answering.in_charge
    assert present is not None
    return present


def shadow_of(world: World) -> Shadow | None:
    return in_charge(world).shadow


def mean_until(world: World, size: int = SIZE) -> float:
    return world.asked - 1 - (size - 1) / 2


def release(world: World, **about: Any) -> None:
    world.plane.reports.clear()
    world.plane.wish(world.factory.publish(bundle(world, **about)), rollout=world.factory.made)
    world.rest()


def test_a_window_is_full_at_once_after_a_power_cut(hours: World) -> None:
    release(hours)
    hours.fleet.cut_power("d1")
    hours.fleet.start("d1")
    assert forecast(hours) == mean_until(hours)


def test_a_slot_in_probation_is_compared_from_its_first_answer_on(hours: World) -> None:
    release(hours)
    hours.plane.wish(hours.factory.publish(bundle(hours)), rollout=2)
    hours.fleet.until(lambda: shadow_of(hours) is not None)
    shadow = shadow_of(hours)
    assert shadow is not None
    hours.fleet.step()
    hours.fleet.step()
    assert len(shadow._errors) >= 2
    assert len(shadow._disagreements) == len(shadow._errors)
    hours.rest()
    assert hours.agent.report().running.version == 2
    assert forecast(hours) == mean_until(hours)


def test_a_slot_that_is_put_back_knows_what_was_asked_meanwhile(hours: World) -> None:
    release(hours)
    hours.plane.wish(hours.factory.publish(bundle(hours)), rollout=2)
    hours.fleet.until(lambda: in_charge(hours).trial is not None)
    asked = hours.asked
    while hours.asked < asked + SIZE:
        hours.agent.answer(ask(hours))
    hours.agent._update.fail(Result.FAILED_ROLLBACK_COMPLETE, "a person said so")
    assert in_charge(hours).current.ref.version == 1
    assert forecast(hours) == mean_until(hours)


def test_a_slot_that_looks_further_back_sees_what_there_is(hours: World) -> None:
    release(hours)
    release(hours, size=2 * SIZE)
    assert in_charge(hours).current.memory == 2 * SIZE - 1
    while hours.asked < 2 * SIZE + 1:
        forecast(hours)
    value = forecast(hours)
    assert value == mean_until(hours, 2 * SIZE)


def test_a_file_of_rows_that_is_broken_is_a_model_without_a_past(
    hours: World, caplog: pytest.LogCaptureFixture
) -> None:
    release(hours)
    hours.agent._books.earlier._database._connection.execute("UPDATE earlier SET inputs = '{'")
    hours.fleet.cut_power("d1")
    hours.fleet.start("d1")
    assert np.isnan(forecast(hours))
    assert "remind.failed version=1" in caplog.text


def test_rows_are_forgotten_once_no_model_looks_back(tmp_path: Path) -> None:
    earlier = Earlier(tmp_path / "earlier.sqlite")
    for hour in range(5):
        earlier.add(readings(hour, 1), 3)
    assert [row["value"].tolist() for row in earlier._rows()] == [[2.0], [3.0], [4.0]]
    earlier.add(readings(5, 1), 0)
    assert earlier._rows() == []
    earlier.close()
