"""An answer in pieces: what is counted when it ends, when it fails, and when nobody listens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import urllib3
from tests.agent.test_endpoint import call, tensor
from tests.agent.test_update import installed
from tests.agent.world import World, pictures

from edgeloop.agent.endpoint import serving
from edgeloop.errors import InputMismatchError, ModelError

PATH = "/v2/models/sorter/generate_stream"


class Talker:
    """A session that also says its answer in ``pieces``; an exception among them is raised."""

    def __init__(self, session: Any, pieces: Iterator[str | Exception]) -> None:
        self._session, self._pieces = session, pieces
        self.closed = threading.Event()

    def run(self, feed: Any) -> Any:
        return self._session.run(feed)

    def stream(self, feed: Any) -> Talker:
        self._feed = feed
        return self

    def __iter__(self) -> Talker:
        return self

    def __next__(self) -> str:
        piece = next(self._pieces)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.closed.set()

    def answers(self) -> Any:
        return self._session.run(self._feed)


def talking(world: World, pieces: Iterator[str | Exception]) -> Talker:
    """The installed slot, from now on with a session that says ``pieces``."""
    installed(world)
    desk = world.agent._answering
    talker = Talker(desk.in_charge.current.session, pieces)
    desk.in_charge = replace(
        desk.in_charge, current=replace(desk.in_charge.current, session=talker)
    )
    return talker


def counted(world: World) -> tuple[int, int]:
    """Answers and errors since this was asked the last time."""
    signals = world.agent._books.signals
    signals.close_all()
    answers = errors = 0
    while batch := signals.batch():
        answers += sum(one.answers for one in batch.windows)
        errors += sum(one.errors for one in batch.windows)
        signals.acknowledged(batch)
    return answers, errors


def row() -> dict[str, Any]:
    return {"image": pictures(5, 2)[1]}


def test_a_stream_that_ends_is_an_answer_like_any_other(world: World) -> None:
    talking(world, iter(["ri", "ght"]))
    counted(world)
    stream = world.agent.stream(row())
    assert list(stream) == ["ri", "ght"]
    assert stream.answer is not None
    assert (stream.answer.id, stream.answer.result["label"]) == (stream.id, "right")
    assert world.agent._books.journal.find(stream.id) is not None
    assert counted(world) == (1, 0)
    world.agent.feedback(stream.id, "left")


def test_a_stream_that_is_left_is_logged_and_not_counted(world: World) -> None:
    talker = talking(world, iter(["ri", "ght"]))
    counted(world)
    stream = world.agent.stream(row())
    assert next(stream) == "ri"
    stream.close()
    assert talker.closed.is_set()
    assert stream.answer is None
    assert world.agent._books.journal.find(stream.id) is not None
    assert counted(world) == (0, 0)


def test_a_model_that_fails_between_two_pieces_is_an_error_of_the_model(world: World) -> None:
    talking(world, iter(["ri", RuntimeError("out of memory")]))
    counted(world)
    bundle = world.agent.slot().ref.digest
    stream = world.agent.stream(row())
    assert next(stream) == "ri"
    with pytest.raises(ModelError) as caught:
        next(stream)
    assert str(caught.value) == f"[E120] bundle {bundle} must answer, got out of memory"
    assert counted(world) == (0, 1)
    assert world.agent._books.journal.find(stream.id) is None


def test_a_model_that_answers_whole_is_not_streamed(world: World) -> None:
    installed(world)
    with pytest.raises(InputMismatchError) as caught:
        list(world.agent.stream(row()))
    assert str(caught.value) == (
        "[E121] stream must be asked of a model whose runtime answers in pieces, got onnx."
        " Ask for the whole answer"
    )


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with serving(world.agent, "127.0.0.1:0") as address:
        yield address


def events(url: str) -> list[Any]:
    """Every event of a stream."""
    body, headers = json.dumps({"inputs": [tensor()]}), {"Content-Type": "application/json"}
    reply = urllib3.request("POST", url + PATH, body=body, headers=headers, retries=False)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream")
    lines = reply.data.decode().split("\n\n")
    assert lines.pop() == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_over_http_each_piece_is_an_event_and_the_last_carries_the_answer(
    world: World, url: str
) -> None:
    talking(world, iter(["ri", "ght"]))
    *pieces, last = events(url)
    assert [one["text_output"] for one in pieces] == ["ri", "ght"]
    assert last["parameters"]["label"] == "right"
    assert {one["id"] for one in [*pieces, last]} == {last["parameters"]["answer_id"]}


def test_a_fault_behind_the_first_piece_is_the_last_event(world: World, url: str) -> None:
    talking(world, iter(["ri", RuntimeError("out of memory")]))
    piece, last = events(url)
    assert piece["text_output"] == "ri"
    assert last["number"] == "E120"


def test_what_is_refused_before_the_first_piece_has_a_status(world: World, url: str) -> None:
    installed(world)
    status, said = call(url, PATH, {"inputs": [tensor()]})
    assert (status, said["number"]) == (400, "E121")


def test_a_client_that_goes_stops_the_model(world: World, url: str) -> None:
    talker = talking(world, iter(lambda: "x" * 10_000, None))
    body, headers = json.dumps({"inputs": [tensor()]}), {"Content-Type": "application/json"}
    reply = urllib3.request(
        "POST", url + PATH, body=body, headers=headers, retries=False, preload_content=False
    )
    assert reply.read(5) == b"data:"
    reply.close()
    assert talker.closed.wait(30)
