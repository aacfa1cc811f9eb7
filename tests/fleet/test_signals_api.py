"""Windows and samples: counted once, and samples within their budget."""

from __future__ import annotations

from typing import Any

import pytest
from fleet_bench import Bench, Device, digest, message

from edgeloop.errors import NotFoundError, ProtocolError
from edgeloop.protocol.messages import Sample, Samples, Window, Windows


def window(number: int, version: int = 1) -> Window:
    return Window(
        id=f"{number:032x}",
        bundle=digest(version),
        version=version,
        began=1.0 * number,
        ended=2.0 * number,
        answers=300,
        sketches={"brightness": "AAAA"},
    )


def send_windows(device: Device, *numbers: int, version: int = 1) -> Any:
    windows = tuple(window(number, version) for number in numbers)
    return device.send("POST", "/v1/windows", Windows(windows=windows))


def send_samples(device: Device, request: int, *answers: str) -> Any:
    samples = tuple(Sample(answer=one, inputs={"image": "AAAA"}, truth=7) for one in answers)
    return device.send("POST", "/v1/samples", Samples(request=request, samples=samples))


def test_a_window_that_is_sent_twice_counts_once(bench: Bench) -> None:
    device = bench.device("cam-1", site="south")
    assert send_windows(device, 1, 2).json() == {"accepted": [f"{1:032x}", f"{2:032x}"]}
    assert send_windows(device, 2, 3, 3).status_code == 200
    found = bench.operator.windows()
    assert [view.window for view in found] == [window(1), window(2), window(3)]
    assert {(view.device, view.name, view.labels["site"]) for view in found} == {
        (device.id, "cam-1", "south")
    }


def test_two_devices_may_have_windows_of_the_same_id(bench: Bench) -> None:
    for name in ("cam-1", "cam-2"):
        send_windows(bench.device(name), 1)
    assert [view.name for view in bench.operator.windows()] == ["cam-1", "cam-2"]


def test_windows_are_asked_by_selector_bundle_and_place(bench: Bench) -> None:
    north, south = bench.device("n", site="north"), bench.device("s", site="south")
    send_windows(north, 1)
    send_windows(south, 2)
    send_windows(south, 3, version=2)
    ask = bench.operator.windows
    assert [view.window.answers for view in ask("site=south")] == [300, 300]
    assert [view.name for view in ask(bundle=digest(2))] == ["s"]
    assert [view.seq for view in ask(since=1)] == [2, 3]
    assert [view.seq for view in ask(since=1, limit=1)] == [2]


def test_windows_survive_a_restart(bench: Bench) -> None:
    device = bench.device("cam-1")
    send_windows(device, 1)
    bench.restart()
    send_windows(device, 1)
    assert len(bench.operator.windows()) == 1


def test_a_request_reaches_the_devices_that_it_selects_until_they_gave_their_share(
    bench: Bench,
) -> None:
    north, south = bench.device("n", site="north"), bench.device("s", site="south")
    request = bench.operator.request_samples("site=south", 10, per_device=2)
    assert north.desired().json()["samples"] is None
    assert south.desired().json()["samples"] == {"id": request.id, "count": 2, "model": None}
    send_samples(south, request.id, "a1")
    assert south.desired().json()["samples"] == {"id": request.id, "count": 2, "model": None}
    assert send_samples(south, request.id, "a1", "a2", "a3").json() == {"accepted": ["a1", "a2"]}
    assert south.desired().json()["samples"] is None
    found = list(bench.operator.samples(request.id))
    assert [view.sample.answer for view in found] == ["a1", "a2"]
    assert (found[0].device, found[0].labels, found[0].sample.truth) == (
        south.id,
        {"site": "south"},
        7,
    )


def test_the_budget_is_never_exceeded_and_ends_the_request(bench: Bench) -> None:
    devices = [bench.device(f"cam-{i}") for i in range(3)]
    request = bench.operator.request_samples("all", 5)
    sent = [send_samples(d, request.id, f"{d.name}-1", f"{d.name}-2") for d in devices]
    assert [len(reply.json()["accepted"]) for reply in sent] == [2, 2, 1]
    (view,) = bench.operator.sample_requests()
    assert (view.received, view.closed) == (5, bench.clock.now())
    assert [device.desired().json()["samples"] for device in devices] == [None] * 3
    assert send_samples(devices[0], request.id, "late").json() == {"accepted": []}
    assert len(list(bench.operator.samples(request.id))) == 5
    assert bench.actions("samples") == [
        "samples.requested",
        *["samples.received"] * 3,
        "samples.closed",
    ]


def test_what_was_stored_is_accepted_again_after_the_end(bench: Bench) -> None:
    device = bench.device("cam-1")
    request = bench.operator.request_samples("all", 1)
    send_samples(device, request.id, "a1")
    assert send_samples(device, request.id, "a1").json() == {"accepted": ["a1"]}


def test_samples_for_a_request_that_is_not_the_devices_are_refused(bench: Bench) -> None:
    north = bench.device("n", site="north")
    request = bench.operator.request_samples("site=south", 5)
    reply = send_samples(north, request.id, "a1")
    assert (reply.status_code, message(reply)) == (
        404,
        f"[E603] sample request {request.id} must be one for this device",
    )


def test_an_operator_closes_a_request(bench: Bench) -> None:
    device = bench.device("cam-1")
    request = bench.operator.request_samples("all", 5)
    bench.operator.close_samples(request.id)
    assert device.desired().json()["samples"] is None
    with pytest.raises(NotFoundError) as caught:
        bench.operator.close_samples(9)
    assert str(caught.value) == "[E603] sample request 9 must be one that was made here"


def test_a_request_with_a_broken_selector_is_refused(bench: Bench) -> None:
    with pytest.raises(ProtocolError) as caught:
        bench.operator.request_samples("south", 5)
    assert str(caught.value) == (
        "[E606] selector must be `all`, or label=value joined by commas, got 'south'"
    )
