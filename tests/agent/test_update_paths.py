"""What an application in another process asks about updates, and what it hands back."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.agent.test_endpoint import call, url
from tests.agent.test_waiting import CHARGING, HOUR, ON_BATTERY, done, offered, report, steps
from tests.agent.world import World, pictures

from edgeloop.errors import InputMismatchError
from edgeloop.protocol.messages import Conditions, SampleRequest

__all__ = ["url"]  # the fixture of an endpoint


def waiting(world: World) -> None:
    """A device that waits with release 2, which a user may postpone for an hour."""
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True), postpone_seconds=HOUR)
    world.fleet.until(lambda: bool(world.plane.reports and report(world)["waiting"]))


def test_an_application_asks_how_an_update_stands(world: World, url: str) -> None:
    waiting(world)
    assert call(url, "/v2/edgeloop/update") == (
        200,
        {
            "state": "downloading",
            "running": 1,
            "trying": 2,
            "waiting": "power from outside",
            "waiting_until": None,
            "postpone_seconds": HOUR,
        },
    )


def test_an_application_postpones_for_its_user(world: World, url: str) -> None:
    waiting(world)
    asked = {"seconds": 600}
    assert call(url, "/v2/edgeloop/postpone", asked) == (200, {"postponed_seconds": 600})
    world.fleet.readings = CHARGING
    steps(world, 5)
    assert (report(world)["state"], report(world)["waiting"]) == ("trying", '"not now" of a user')
    world.clock.sleep(600)
    done(world)


def test_a_postponement_that_is_too_long_is_a_conflict(world: World, url: str) -> None:
    waiting(world)
    assert call(url, "/v2/edgeloop/postpone", {"seconds": 3601}) == (
        409,
        {
            "error": "[E510] release 2 must be postponed by at most 3600 s, got 3601 s",
            "number": "E510",
        },
    )


@pytest.mark.parametrize("seconds", [None, "600", -1, True, float("nan"), 1e300])
def test_what_is_no_number_of_seconds_is_refused(world: World, url: str, seconds: Any) -> None:
    status, said = call(url, "/v2/edgeloop/postpone", {"seconds": seconds})
    assert (status, said["number"]) == (400, "E606")


def test_an_application_hears_of_an_update_as_soon_as_it_comes(world: World, url: str) -> None:
    _, first = call(url, "/v2/edgeloop/notices", {})
    assert first["notices"] == []
    heard: list[Any] = []

    def listen() -> None:
        heard.append(call(url, "/v2/edgeloop/notices", {"after": first["after"], "seconds": 20}))

    thread = threading.Thread(target=listen)
    thread.start()
    waiting(world)
    thread.join()
    ((status, said),) = heard
    assert (status, said["notices"][0]["kind"], said["notices"][0]["version"]) == (200, "coming", 1)
    _, after = call(url, "/v2/edgeloop/notices", {"after": said["after"]})
    assert [one["kind"] for one in after["notices"]][-2:] == ["coming", "waiting"]


# complaints


def asked(world: World) -> str:
    return world.agent.answer({"image": pictures(5, 2)[1]}).id


def test_a_complaint_is_counted_once_and_its_text_stays_on_the_device(
    world: World, url: str
) -> None:
    waiting(world)
    answer = asked(world)
    said = {"answer_id": answer, "text": "this is no cat"}
    for _ in range(2):
        assert call(url, "/v2/edgeloop/complaint", said) == (200, {"answer_id": answer})
    world.agent.hand_over()
    windows = world.plane.windows.values()
    assert sum(window["complaints"] for window in windows) == 1
    assert "this is no cat" not in str(windows)
    assert world.agent._books.complaints.of(answer) == "this is no cat"


def test_a_complaint_goes_with_the_sample_of_an_answer_that_is_corrected(world: World) -> None:
    waiting(world)
    world.plane.wish(world.agent.slot().ref, 1, SampleRequest(id=1, count=9))
    steps(world, 3)
    plain, other = asked(world), asked(world)
    world.agent.complain(other, "this is no cat")
    for answer in (plain, other):
        world.agent.feedback(answer, "left")
    steps(world, 3)
    sent = {answer: sample["complaint"] for answer, sample in world.plane.samples.items()}
    assert sent == {plain: "", other: "this is no cat"}


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ({"answer_id": "none", "text": "bad"}, "E121"),
        ({"answer_id": "none"}, "E606"),
        ({"answer_id": 1, "text": "bad"}, "E606"),
    ],
)
def test_a_complaint_must_name_an_answer_and_say_something(
    world: World, url: str, body: Any, number: str
) -> None:
    status, said = call(url, "/v2/edgeloop/complaint", body)
    assert (status, said["number"]) == (400, number)


@pytest.mark.parametrize("text", ["", "  ", "x" * 2001])
def test_a_complaint_that_is_empty_or_too_long_is_refused(world: World, text: str) -> None:
    waiting(world)
    with pytest.raises(InputMismatchError) as caught:
        world.agent.complain(asked(world), text)
    assert str(caught.value) == (
        f"[E121] complaint must have 1 to 2000 characters, got {len(text)}"
    )
