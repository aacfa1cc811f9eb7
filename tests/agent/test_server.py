"""An agent as a server: public only when told twice, metrics, and an end that cuts nobody off."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import urllib3
from tests.agent.test_endpoint import call, tensor
from tests.agent.test_update import installed
from tests.agent.world import World

from edgeloop.agent import endpoint
from edgeloop.agent.address import parted
from edgeloop.agent.endpoint import serving
from edgeloop.errors import ProtocolError

INFER = "/v2/models/sorter/infer"


def metrics(url: str) -> tuple[str, str]:
    reply = urllib3.request("GET", f"{url}/metrics", retries=False)
    return reply.headers["Content-Type"], reply.data.decode()


def test_another_machine_is_served_only_when_that_is_said() -> None:
    assert parted("0.0.0.0:8080", public=True) == ("0.0.0.0", 8080)
    assert parted("[::]:8080", public=True) == ("::", 8080)
    assert parted("127.0.0.1:0", public=True) == ("127.0.0.1", 0)
    with pytest.raises(ProtocolError):
        parted("0.0.0.0:8080")
    for wrong in (":8080", "0.0.0.0", "0.0.0.0:70000"):
        with pytest.raises(ProtocolError):
            parted(wrong, public=True)


def test_a_public_endpoint_takes_any_name_and_no_page_of_another_origin(world: World) -> None:
    installed(world)
    with serving(world.agent, "127.0.0.1:0", public=True) as url:
        assert call(url, "/v2/health/ready", Host="model.example")[0] == 200
        body = {"inputs": [tensor()]}
        own = {"Host": "model.example", "Origin": "https://model.example"}
        assert call(url, INFER, body, **own)[0] == 200
        assert call(url, INFER, body, **{**own, "Origin": "https://evil.example"}) == (
            403,
            {
                "error": (
                    "[E606] header Origin must be of model.example, got 'https://evil.example'"
                ),
                "number": "E606",
            },
        )
        assert call(url, INFER, body, Content_Type="text/plain")[0] == 415


def test_metrics_say_what_was_answered_and_by_which_release(world: World) -> None:
    with serving(world.agent, "127.0.0.1:0") as url:
        assert call(url, INFER, {"inputs": [tensor()]})[0] == 503
        assert "edgeloop_release_info{" not in metrics(url)[1]
        bundle, _ = installed(world)
        for name in ("image", "image", "picture"):
            call(url, INFER, {"inputs": [tensor(name=name)]})
        kind, text = metrics(url)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert float(values.pop("edgeloop_answer_seconds_sum")) > 0
    assert values == {
        "edgeloop_answers_total": "2",
        'edgeloop_errors_total{number="E121"}': "1",
        'edgeloop_errors_total{number="E503"}': "1",
        "edgeloop_answer_seconds_count": "2",
        "edgeloop_ready": "1",
        f'edgeloop_release_info{{model="sorter",version="1",bundle="{bundle.digest}"}}': "1",
    }
    named = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert named == [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]


class Slow:
    """An agent whose answers wait until they are let go."""

    def __init__(self, agent: Any) -> None:
        self._agent, self.asked, self.go = agent, threading.Event(), threading.Event()

    def answer(self, inputs: Any) -> Any:
        self.asked.set()
        assert self.go.wait(20)
        return self._agent.answer(inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)


def test_a_request_that_is_being_answered_when_the_agent_ends_gets_its_answer(
    world: World,
) -> None:
    installed(world)
    slow, found = Slow(world.agent), []
    ending = serving(slow, "127.0.0.1:0")  # type: ignore[arg-type]
    url = ending.__enter__()
    body = {"inputs": [tensor()]}
    client = threading.Thread(target=lambda: found.append(call(url, INFER, body)[0]))
    client.start()
    assert slow.asked.wait(20)
    closing = threading.Thread(target=ending.__exit__, args=(None, None, None))
    closing.start()
    closing.join(1)
    assert closing.is_alive()
    slow.go.set()
    closing.join(20)
    client.join(20)
    assert found == [200]


def test_an_answer_that_never_comes_does_not_hold_up_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(world)
    monkeypatch.setattr(endpoint, "GRACE_SECONDS", 0.01)
    slow = Slow(world.agent)
    with serving(slow, "127.0.0.1:0") as url:  # type: ignore[arg-type]
        body = json.dumps({"inputs": [tensor()]})
        head = {"Content-Type": "application/json"}
        client = threading.Thread(
            target=lambda: urllib3.request("POST", url + INFER, body=body, headers=head)
        )
        client.start()
        assert slow.asked.wait(20)
    assert "end.failed unanswered=1 seconds=0.01" in caplog.text
    slow.go.set()
    client.join(20)
