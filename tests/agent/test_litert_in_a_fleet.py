"""A release for a runtime that some devices lack: they refuse it unfetched, the others take it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import litert_side
from tests.agent.test_agents_in_a_fleet import PLAN, Field, field  # noqa: F401  (a fixture)
from tests.agent.world import SHAPE

from edgeloop.agent import device
from edgeloop.protocol.messages import Group
from edgeloop.types import Model, TensorSpec

pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed")
LACKING = ("north-2", "south-1")
# a stage in which no device succeeds ends a rollout: a canary is one that has the runtime
TOGETHER = PLAN.model_copy(update={"groups": (Group(select="all", stages=("100%",)),)})


def graph(folder: Path) -> Model:
    path = litert_side.halves(folder / "model.tflite", form="uint8")
    picture = TensorSpec(name="image", dtype="uint8", shape=SHAPE)
    return Model(**{**vars(litert_side.model(path)), "inputs": (picture,)})


def without_litert(field: Field, names: tuple[str, ...], monkeypatch) -> None:  # noqa: F811
    """Start these devices again as if the distribution were not installed there."""
    installed = device._installed
    with monkeypatch.context() as there:
        there.setattr(device, "_installed", lambda d: d != "ai-edge-litert" and installed(d))
        for name in names:
            field.fleet.agents.pop(name).close()
            field.fleet.start(name)


def test_a_release_for_a_runtime_that_a_device_lacks_is_refused_unfetched_and_the_fleet_goes_on(
    field: Field,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_litert(field, LACKING, monkeypatch)
    first = field.factory.bundle()
    assert field.until_over(field.roll_out(first)) == "finished"

    bundle = field.factory.bundle(against=first, graph=graph)
    second = field.factory.publish(bundle, TOGETHER)
    rollout = field.client.create_rollout("sorter", "stable", second.version).id
    assert field.until_over(rollout) == "finished"
    assert field.versions() == {"north-1": 2, "north-2": 1, "south-1": 1, "south-2": 2}
    for layer in set(bundle.layers) - set(first.layers):
        assert field.fetched(layer.digest) == {"north-1", "south-2"}
    jobs = {job.device_name: job for job in field.client.rollout(rollout).jobs}
    assert {name: job.state for name, job in jobs.items()} == {
        "north-1": "SUCCEEDED",
        "north-2": "REJECTED",
        "south-1": "REJECTED",
        "south-2": "SUCCEEDED",
    }
    assert jobs["south-1"].reason == "it has no litert"
