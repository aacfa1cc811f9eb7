"""Applications over loopback HTTP: the Open Inference Protocol, and feedback."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from tests.agent.test_update import installed
from tests.agent.world import World, pictures

from edgeloop.agent.endpoint import serving
from edgeloop.errors import PortInUseError, ProtocolError

Ask = Any


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with serving(world.agent, "127.0.0.1:0") as address:
        yield address


def call(url: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """GET without a body, POST with one."""
    data = None if body is None else json.dumps(body)
    method = "GET" if body is None else "POST"
    told = {} if body is None else {"Content-Type": "application/json"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    reply = urllib3.request(method, url + path, body=data, headers=told, retries=False)
    return reply.status, json.loads(reply.data)


def tensor(**changes: object) -> dict[str, Any]:
    image = pictures(5, 2)[1]
    whole = {
        "name": "image",
        "shape": [1, 4, 4],
        "datatype": "UINT8",
        "data": image.ravel().tolist(),
    }
    return {**whole, **changes}


def test_an_agent_without_a_slot_is_live_and_not_ready(world: World, url: str) -> None:
    assert call(url, "/v2/health/live") == (200, {"live": True})
    assert call(url, "/v2/health/ready") == (
        503,
        {
            "error": "[E503] device must have an installed bundle. Wait for its first release",
            "number": "E503",
        },
    )


def test_an_inference_carries_outputs_answer_id_and_bundle(world: World, url: str) -> None:
    bundle, _ = installed(world)
    status, said = call(url, "/v2/models/sorter/infer", {"id": "q1", "inputs": [tensor()]})
    assert status == 200
    assert (said["model_name"], said["model_version"], said["id"]) == ("sorter", "1", "q1")
    outputs = {output["name"]: output for output in said["outputs"]}
    assert outputs["label"] == {"name": "label", "shape": [1], "datatype": "INT64", "data": [1]}
    assert outputs["probabilities"]["datatype"] == "FP32"
    assert outputs["probabilities"]["shape"] == [1, 2]
    assert said["parameters"]["bundle"] == bundle.digest
    assert said["parameters"]["label"] == "right"
    assert world.agent._books.journal.find(said["parameters"]["answer_id"])


def test_the_model_describes_itself(world: World, url: str) -> None:
    installed(world)
    assert call(url, "/v2/models/sorter/ready") == (200, {"name": "sorter", "ready": True})
    assert call(url, "/v2/models/sorter") == (
        200,
        {
            "name": "sorter",
            "versions": ["1"],
            "platform": "onnx",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 4, 4]}],
            "outputs": [
                {"name": "probabilities", "datatype": "FP32", "shape": [1, 2]},
                {"name": "label", "datatype": "INT64", "shape": [1]},
            ],
        },
    )


def test_the_server_describes_itself(url: str) -> None:
    assert call(url, "/v2") == (
        200,
        {
            "name": "edgeloop",
            "version": "2",
            "extensions": ["edgeloop_feedback", "edgeloop_update", "generate_stream"],
        },
    )


def test_feedback_is_taken(world: World, url: str) -> None:
    installed(world)
    answer = world.agent.answer({"image": pictures(5, 1)[0]})
    told = {"answer_id": answer.id, "truth": "left"}
    assert call(url, "/v2/edgeloop/feedback", told) == (200, {"answer_id": answer.id})
    entry = world.agent._books.journal.find(answer.id)
    assert entry is not None
    assert entry.truth == "left"


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        (
            "/v2/models/other",
            None,
            404,
            "[E603] path /v2/models/other must be one of this agent's. The model is 'sorter'",
        ),
        (
            "/v2/models/sorter/infer",
            {"inputs": "x"},
            400,
            "[E606] request body must have a list of inputs",
        ),
        ("/v2/models/sorter/infer", [], 400, "[E606] request body must be a JSON object"),
        (
            "/v2/models/sorter/infer",
            {"inputs": [{"name": "image"}]},
            400,
            (
                "[E606] input must have name, shape, datatype and data that fit together, "
                "got KeyError('shape')"
            ),
        ),
        (
            "/v2/models/sorter/infer",
            {"inputs": [tensor(name="picture")]},
            400,
            "[E121] inputs must be image, got picture",
        ),
        (
            "/v2/edgeloop/feedback",
            {"answer_id": "x"},
            400,
            "[E606] request body must have answer_id and truth",
        ),
        (
            "/v2/edgeloop/feedback",
            {"answer_id": "x", "truth": "left"},
            400,
            "[E121] answer 'x' must be in this device's log",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    world: World, url: str, path: str, body: object, status: int, error: str
) -> None:
    installed(world)
    got, said = call(url, path, body)
    assert (got, said["error"]) == (status, error)


def test_a_body_that_is_too_large_is_refused_unread(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeloop.agent.endpoint.LARGEST_BODY", 10)
    status, said = call(url, "/v2/models/sorter/infer", {"inputs": []})
    assert (status, said["error"]) == (
        400,
        "[E606] request body must have a length of at most 10 bytes, got 14",
    )


def test_a_body_that_is_not_json_is_refused(url: str) -> None:
    path = url + "/v2/models/sorter/infer"
    told = {"Content-Type": "application/json"}
    reply = urllib3.request("POST", path, body=b"{", headers=told, retries=False)
    assert reply.status == 400
    assert json.loads(reply.data)["error"].startswith("[E606] request body must be JSON, got ")


def test_a_request_under_another_host_name_is_refused(url: str) -> None:
    assert call(url, "/v2/health/live", Host="evil.example") == (
        400,
        {
            "error": "[E606] header Host must name this machine by loopback, got 'evil.example'",
            "number": "E606",
        },
    )


def test_after_a_refusal_a_client_may_ask_again_over_the_same_pool(world: World, url: str) -> None:
    pool = urllib3.PoolManager(retries=False, headers={"Content-Type": "application/json"})
    body = json.dumps({"inputs": [tensor()]})
    statuses = [pool.request("POST", f"{url}/v2/models/sorter/infer", body=body).status]
    installed(world)
    statuses += [
        pool.request("POST", f"{url}/v2/models/sorter/infer", body=body).status for _ in range(3)
    ]
    assert statuses == [503, 200, 200, 200]


def test_only_loopback_is_listened_on(world: World) -> None:
    with pytest.raises(ProtocolError) as caught, serving(world.agent, "0.0.0.0:0"):
        pass
    assert str(caught.value) == (
        "[E606] listen address '0.0.0.0:0' must be loopback and a port of 0 to 65535, "
        "such as 127.0.0.1:8080"
    )


def test_a_port_in_use_is_named(world: World, url: str) -> None:
    address = url.removeprefix("http://")
    with pytest.raises(PortInUseError) as caught, serving(world.agent, address):
        pass
    assert str(caught.value) == (
        f"[E605] address {address} must be free. Choose another port, or 0 for any"
    )


def test_a_post_that_a_web_page_could_send_unasked_is_refused(world: World, url: str) -> None:
    installed(world)
    asked = world.agent._books.journal.last_row()
    body = {"inputs": [tensor()]}
    path = "/v2/models/sorter/infer"
    assert call(url, path, body, Content_Type="text/plain") == (
        415,
        {
            "error": "[E606] header Content-Type must be application/json, got 'text/plain'",
            "number": "E606",
        },
    )
    assert call(url, path, body, Origin="https://evil.example") == (
        403,
        {
            "error": (
                "[E606] header Origin must name this machine by loopback, "
                "got 'https://evil.example'"
            ),
            "number": "E606",
        },
    )
    assert call(url, path, body, Origin="null")[0] == 403
    assert world.agent._books.journal.last_row() == asked
    charset = {"Content_Type": "application/json; charset=utf-8", "Origin": "http://localhost:3000"}
    assert call(url, path, body, **charset)[0] == 200


def test_the_loopback_of_ipv6_is_served(world: World) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(world.agent, "[::1]:0") as address:
        assert address.startswith("http://[::1]:")
        assert call(address, "/v2/health/live") == (200, {"live": True})
