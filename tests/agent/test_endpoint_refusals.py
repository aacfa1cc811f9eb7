"""Whatever is wrong with a request, an application gets JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
import urllib3
from tests.agent.world import World

from edgeloop.agent.endpoint import serving


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with serving(world.agent, "127.0.0.1:0") as address:
        yield address


def test_a_body_that_is_nested_too_deep_is_refused(url: str) -> None:
    told = {"Content-Type": "application/json"}
    path = url + "/v2/models/sorter/infer"
    reply = urllib3.request("POST", path, body=b"[" * 100_000, headers=told, retries=False)
    assert reply.status == 400
    assert json.loads(reply.data)["error"].startswith("[E606] request body must be JSON, got ")


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("DELETE", "/v2/models/sorter", 405, "must be asked with GET, got DELETE"),
        ("PUT", "/v2/models/sorter/infer", 405, "must be asked with POST, got PUT"),
        ("GET", "/v2/models/sorter/infer", 405, "must be asked with POST, got GET"),
        ("POST", "/v2", 405, "must be asked with GET, got POST"),
        ("PATCH", "/v3", 404, "must be one of this agent's. The model is 'sorter'"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_refused_as_json(
    url: str, method: str, path: str, status: int, error: str
) -> None:
    told = {"Content-Type": "application/json"}
    reply = urllib3.request(method, url + path, body=b"{}", headers=told, retries=False)
    number = "E606" if status == 405 else "E603"
    assert reply.status == status
    assert json.loads(reply.data) == {
        "error": f"[{number}] path {path} {error}",
        "number": number,
    }
    allowed = {"Allow": error.split()[4].rstrip(",")} if status == 405 else {}
    assert {name: v for name, v in reply.headers.items() if name == "Allow"} == allowed


def test_a_path_that_is_no_address_is_refused_as_json(url: str) -> None:
    client = HTTPConnection(url.removeprefix("http://"))
    client.request("GET", "ftp://[")
    reply = client.getresponse()
    assert (reply.status, json.loads(reply.read())) == (
        404,
        {
            "error": "[E603] path ftp://[ must be one of this agent's. The model is 'sorter'",
            "number": "E603",
        },
    )
    client.close()


def test_what_the_http_library_refuses_is_json_too(url: str) -> None:
    reply = urllib3.request("BREW", f"{url}/v2", retries=False)
    assert reply.status == 501
    assert json.loads(reply.data) == {
        "error": "[E606] request must be HTTP/1.1, got Unsupported method ('BREW')",
        "number": "E606",
    }
