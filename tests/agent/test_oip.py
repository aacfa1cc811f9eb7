"""The Open Inference Protocol: versions, chosen outputs, datatypes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.agent.test_endpoint import call, tensor
from tests.agent.test_update import good, installed
from tests.agent.world import World

from edgeloop.agent import tensors
from edgeloop.agent.endpoint import serving

VERSION = "/v2/models/sorter/versions/1"


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with serving(world.agent, "127.0.0.1:0") as address:
        yield address


def refused(number: str, message: str) -> dict[str, str]:
    return {"error": f"[{number}] {message}", "number": number}


def test_the_version_in_charge_answers_under_its_number(world: World, url: str) -> None:
    installed(world)
    assert call(url, f"{VERSION}/ready") == (200, {"name": "sorter", "ready": True})
    assert call(url, VERSION) == call(url, "/v2/models/sorter")
    status, said = call(url, f"{VERSION}/infer", {"inputs": [tensor()]})
    assert (status, said["model_version"]) == (200, "1")


@pytest.mark.parametrize("rest", ["", "/ready", "/infer"])
@pytest.mark.parametrize("version", ["2", "01", "newest"])
def test_a_version_that_is_not_in_charge_is_not_found(
    world: World, url: str, version: str, rest: str
) -> None:
    installed(world)
    asked = world.agent._books.journal.last_row()
    body = {"inputs": [tensor()]} if rest == "/infer" else None
    message = (
        f"version {version} of model sorter must be the release in charge, got release 1 in charge"
    )
    path = f"/v2/models/sorter/versions/{version}{rest}"
    assert call(url, path, body) == (404, refused("E603", message))
    assert world.agent._books.journal.last_row() == asked


def test_after_an_update_the_old_version_is_not_found(world: World, url: str) -> None:
    first, _ = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.rest()
    assert call(url, f"{VERSION}/ready")[0] == 404
    assert call(url, "/v2/models/sorter/versions/2/ready")[0] == 200


def test_an_answer_of_another_version_than_was_asked_for_is_not_given(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = installed(world)
    slot = world.agent.slot()
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.rest()
    monkeypatch.setattr(world.agent, "slot", lambda: slot)  # read just before the switch
    message = "version 1 of model sorter must be the release in charge, got release 2 in charge"
    body = {"inputs": [tensor()]}
    assert call(url, f"{VERSION}/infer", body) == (404, refused("E603", message))


def test_the_outputs_that_a_request_names_are_given_in_its_order(world: World, url: str) -> None:
    installed(world)
    for names in (["label"], ["label", "probabilities"]):
        body = {"inputs": [tensor()], "outputs": [{"name": name} for name in names]}
        status, said = call(url, "/v2/models/sorter/infer", body)
        assert (status, [output["name"] for output in said["outputs"]]) == (200, names)


@pytest.mark.parametrize(
    ("changes", "number", "message"),
    [
        (
            {"outputs": [{"name": "label"}, {"name": "colour"}]},
            "E121",
            "outputs must be of probabilities, label, got colour",
        ),
        (
            {"outputs": ["label"]},
            "E606",
            "request body must have outputs that are a list of objects",
        ),
        (
            {"inputs": [tensor(datatype="FP32")]},
            "E121",
            "input 'image' must have datatype UINT8, got FP32",
        ),
        (
            {"inputs": [tensor(datatype="INT64")]},
            "E121",
            "input 'image' must have datatype UINT8, got INT64",
        ),
    ],
)
def test_what_the_model_does_not_have_is_refused_and_not_answered(
    world: World, url: str, changes: dict[str, Any], number: str, message: str
) -> None:
    installed(world)
    asked = world.agent._books.journal.last_row()
    body = {"inputs": [tensor()], **changes}
    assert call(url, "/v2/models/sorter/infer", body) == (400, refused(number, message))
    assert world.agent._books.journal.last_row() == asked


def test_texts_and_times_are_bytes() -> None:
    item = {"name": "word", "shape": [1], "datatype": "BYTES", "data": ["edge"]}
    assert tensors.read(item, {"word": "BYTES"})[1].tolist() == ["edge"]
    day = np.array(["2026-11-21"], dtype="datetime64[D]")
    assert tensors.written("day", day) == {
        "name": "day",
        "shape": [1],
        "datatype": "BYTES",
        "data": ["2026-11-21"],
    }
