"""What devices ask: enrolment, identity, versions, what they should be."""

from __future__ import annotations

import json

import pytest
from fleet_bench import Bench, Device, Raw, digest, message, plan, ref
from pydantic import ValidationError
from starlette.datastructures import Headers

from edgeloop.fleet import gate
from edgeloop.fleet.models import NonceRow
from edgeloop.protocol import keys
from edgeloop.protocol.messages import TIME_HEADER, VERSION_HEADER, Desired, Enrolled


def test_a_token_makes_a_key_a_device_with_the_tokens_labels(bench: Bench) -> None:
    token = bench.operator.create_token({"site": "south"}).token
    device = Device(bench, "cam-1")
    reply = device.enrol(token, labels={"site": "north", "floor": "1"})
    assert reply.json() == {"device": device.id, "poll_seconds": 1.0}
    view = bench.operator.device("cam-1")
    assert (view.id, view.labels, view.target) == (
        device.id,
        {"site": "south", "floor": "1"},
        "linux-x86",
    )
    assert bench.actions("device") == ["device.enrolled"]


def test_enrolling_again_with_the_same_key_and_token_gives_the_same_answer(bench: Bench) -> None:
    token = bench.operator.create_token().token
    device = Device(bench, "cam-1")
    first = device.enrol(token)
    bench.clock.sleep(100_000)  # even after the token's end
    assert device.enrol(token).json() == first.json()
    assert len(bench.operator.devices()) == 1


def test_a_used_token_takes_no_other_key(bench: Bench) -> None:
    token = bench.operator.create_token().token
    Device(bench, "cam-1").enrol(token)
    reply = Device(bench, "cam-2").enrol(token)
    assert (reply.status_code, message(reply)) == (
        401,
        "[E602] enrolment token must not be used by another device. Ask an operator for a new one",
    )
    assert len(bench.operator.devices()) == 1


def test_a_wrong_token_is_refused(bench: Bench) -> None:
    reply = Device(bench, "cam-1").enrol("guessed")
    assert (reply.status_code, message(reply)) == (
        401,
        "[E602] enrolment token must be one that was given out here. Ask an operator for a new one",
    )


def test_an_expired_token_is_refused(bench: Bench) -> None:
    token = bench.operator.create_token(valid_seconds=60).token
    bench.clock.sleep(90)
    reply = Device(bench, "cam-1").enrol(token)
    assert (reply.status_code, message(reply)) == (
        401,
        (
            "[E602] enrolment token must not be expired, got one that expired 30 s ago. "
            "Ask an operator for a new one"
        ),
    )


def test_a_name_belongs_to_one_device(bench: Bench) -> None:
    bench.device("cam-1")
    reply = Device(bench, "cam-1").enrol(bench.operator.create_token().token)
    assert (reply.status_code, message(reply)) == (
        409,
        "[E604] device name cam-1 must not belong to another device. "
        "For the same device again, `edgeloop device re-enrol` gives a token",
    )


def test_an_enrolled_key_is_not_enrolled_twice(bench: Bench) -> None:
    device = bench.device("cam-1")
    reply = device.enrol(bench.operator.create_token().token, name="cam-2")
    assert message(reply) == f"[E604] device {device.id} must not be enrolled already"


def test_enrolment_must_be_signed_by_the_key_that_it_brings(bench: Bench) -> None:
    token = bench.operator.create_token().token
    device = Device(bench, "cam-1")
    device.enrol_key = None  # type: ignore[attr-defined]
    other = keys.generate()
    body = {
        "token": token,
        "name": "cam-1",
        "public_key": keys.public_pem(other.public_key()),
        "target": "linux-x86",
    }
    request = device.request("POST", "/v1/enrol", json.dumps(body).encode())
    reply = bench.http.send(request)
    assert reply.status_code == 401
    assert message(reply) == (
        f"[E401] signature of POST /v1/enrol by {device.id} must fit the request and the key, "
        "got a signature by another key or over other content"
    )
    assert bench.operator.devices() == []


def test_an_unknown_device_is_refused(bench: Bench) -> None:
    device = Device(bench, "cam-1")
    reply = device.desired()
    assert (reply.status_code, message(reply)) == (
        401,
        f"[E602] device {device.id} must be enrolled here. Enrol it with a new token",
    )


def test_an_unsigned_request_is_refused(bench: Bench) -> None:
    reply = bench.http.get("/v1/desired")
    assert (reply.status_code, message(reply)) == (
        401,
        "[E401] request must be signed, got no Signature-Input header",
    )


def test_a_request_that_was_seen_is_refused(bench: Bench) -> None:
    device = bench.device("cam-1")
    request = device.request("GET", "/v1/desired")
    assert bench.http.send(request).status_code == 200
    bench.restart()
    again = bench.http.send(request)
    assert (again.status_code, message(again)) == (
        401,
        f"[E401] signature by {device.id} must not be used twice",
    )


def test_a_refused_request_counts_as_seen_too(bench: Bench) -> None:
    device = bench.device("cam-1")
    device.runs(1)
    device.runs(1)
    device.moves = 0
    body = b'{"moves": 1, "state": "idle", "target": "linux-x86"}'
    request = device.request("POST", "/v1/report", body)
    assert bench.http.send(request).status_code == 409
    assert message(bench.http.send(request)).endswith("must not be used twice")


def test_nonces_are_forgotten_when_they_can_not_come_back(bench: Bench) -> None:
    device = bench.device("cam-1")
    request = device.request("GET", "/v1/desired")
    bench.http.send(request)
    bench.clock.sleep(302)
    assert device.desired().status_code == 200
    with bench.app.state.plane.database.read() as session:
        assert session.query(NonceRow).count() == 1
    assert message(bench.http.send(request)).startswith("[E401] signature's created must be")


def test_a_device_acts_for_itself_alone(bench: Bench) -> None:
    one, two = bench.device("cam-1"), bench.device("cam-2")
    one.runs(7)
    assert bench.operator.device("cam-2").report is None
    request = one.request("POST", "/v1/report", b'{"moves": 9, "state": "idle", "target": "x"}')
    request.headers["Signature-Input"] = request.headers["Signature-Input"].replace(one.id, two.id)
    reply = bench.http.send(request)
    assert reply.status_code == 401
    assert message(reply) == (
        f"[E401] signature of POST /v1/report by {two.id} must fit the request and the key, "
        "got a signature by another key or over other content"
    )
    assert bench.operator.device("cam-2").report is None


def test_a_device_with_a_wrong_clock_is_told_the_time(bench: Bench) -> None:
    device = bench.device("cam-1")
    request = device.request("GET", "/v1/desired")
    bench.clock.sleep(1000)
    reply = bench.http.send(request)
    assert (reply.status_code, message(reply)) == (
        401,
        (
            "[E401] signature's created must be within 300 s of this side's clock, "
            "got 1000 s behind. Correct the device's clock by the reply's Edgeloop-Time"
        ),
    )
    assert float(reply.headers[TIME_HEADER]) == bench.clock.now()


def test_an_agent_of_the_first_version_that_says_no_version_is_served(bench: Bench) -> None:
    device = bench.device("cam-1")
    device.version_header = None
    assert device.desired().status_code == 200


def test_an_agent_one_version_older_is_served_and_a_newer_one_is_told() -> None:
    def refused(text: str | None) -> tuple[int, str] | None:
        headers = Headers({VERSION_HEADER: text} if text else {})
        reply = gate.refusal("/v1/desired", headers, oldest=2, newest=3)
        return (reply.status_code, json.loads(reply.body)["error"]["message"]) if reply else None

    assert refused("2") is None
    assert refused("3") is None
    head = "[E606] header Edgeloop-Protocol must be 2 to 3 here, got"
    assert refused("4") == (426, f"{head} 4. Update the control plane first")
    assert refused("1") == (426, f"{head} 1. Update the agent")
    assert refused(None) == (426, f"{head} 1. Update the agent")
    assert refused("new") == (
        400,
        "[E606] header Edgeloop-Protocol must be a number, got 'new'",
    )
    long = "9" * 5000
    assert refused(long) == (426, f"{head} {long[:80]}. Update the control plane first")


def test_a_version_that_is_not_spoken_is_refused_over_http(bench: Bench) -> None:
    device = bench.device("cam-1")
    device.version_header = "99"
    reply = device.desired()
    assert (reply.status_code, message(reply)) == (
        426,
        (
            "[E606] header Edgeloop-Protocol must be 1 to 1 here, got 99. "
            "Update the control plane first"
        ),
    )


def test_a_body_that_is_too_large_is_not_read(bench: Bench) -> None:
    device = bench.device("cam-1")
    reply = bench.http.send(device.request("POST", "/v1/report", b" " * 300_000))
    assert (reply.status_code, message(reply)) == (
        413,
        "[E606] body for /v1/report must have at most 262144 bytes, got 300000. Send less at once",
    )
    said = Headers({"Content-Length": "0" * 5000})
    assert json.loads(gate.refusal("/v1/report", said).body)["error"]["message"] == (
        "[E606] body for /v1/report must have at most 262144 bytes, "
        f"got {'0' * 80}. Send less at once"
    )


def test_a_body_without_a_length_is_refused(bench: Bench) -> None:
    reply = bench.http.post("/v1/report", content=iter([b"{}"]))
    assert (reply.status_code, message(reply)) == (
        411,
        "[E606] request with a body must state its Content-Length, got none",
    )


def test_a_message_that_does_not_fit_names_its_fields(bench: Bench) -> None:
    reply = bench.device("cam-1").report(moves=-1, state="asleep")
    assert reply.status_code == 400
    assert message(reply).startswith(
        "[E606] message of POST /v1/report must fit its schema, "
        "got moves: Input should be greater than or equal to 0; state: Input should be 'idle', "
    )


def test_unknown_fields_of_a_newer_agent_are_ignored(bench: Bench) -> None:
    assert bench.device("cam-1").report(battery=0.7).status_code == 200


def test_without_a_rollout_a_device_should_be_what_it_is(bench: Bench) -> None:
    assert bench.device("cam-1").desired().json() == {
        "release": None,
        "rollout": None,
        "samples": None,
        "poll_seconds": 1.0,
        "rotate_key": False,
        "client_certificate": False,
        "also": [],
    }


def test_nothing_changed_is_304_until_something_did(bench: Bench) -> None:
    device = bench.device("cam-1")
    tag = device.desired().headers["etag"]
    same = device.desired(**{"If-None-Match": tag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    bench.list_release(1)
    bench.go(1)
    changed = device.desired(**{"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.json()["release"] == ref(1).model_dump()


def test_a_failed_release_is_followed_by_the_one_before(bench: Bench) -> None:
    device = bench.device("cam-1")
    bench.list_release(1, plan(soak_seconds=0))
    bench.list_release(2)
    bench.go(1)
    device.runs(1)
    second = bench.go(2)
    assert device.desired().json()["release"]["version"] == 2
    device.fails(2, second)
    assert device.desired().json()["release"] == ref(1).model_dump()
    assert device.desired().json()["rollout"] == 1


def test_a_delisted_release_and_one_below_the_floor_are_passed_over(bench: Bench) -> None:
    device = bench.device("cam-1")
    for version in (1, 2):
        bench.list_release(version)
        bench.go(version)
        device.runs(version)
    assert device.desired().json()["release"]["version"] == 2
    del bench.lists["sorter", "stable"][1]
    assert device.desired().json()["release"]["version"] == 1
    bench.floor = 2
    assert device.desired().json()["release"] is None


def test_a_report_that_goes_back_is_refused(bench: Bench) -> None:
    device = bench.device("cam-1")
    for _ in range(3):
        device.runs(1)
    device.moves = 1
    reply = device.report()
    assert (reply.status_code, message(reply)) == (
        409,
        f"[E604] report of device {device.id} must not go back behind move 3, "
        "unless it is signed later, got 2",
    )


def test_only_a_change_of_state_or_of_what_runs_is_audited(bench: Bench) -> None:
    device = bench.device("cam-1")
    device.report(state="idle")
    device.report(state="downloading", trying=ref(1).model_dump())
    device.report(state="downloading")
    device.runs(1)
    lines = [line for line in bench.operator.audit() if line.action == "device.state"]
    assert [(line.detail["from"], line.detail["to"]) for line in lines] == [
        (None, "idle"),
        ("idle", "downloading"),
        ("downloading", "idle"),
    ]
    assert lines[1].detail["trying"]["digest"] == digest(1)
    assert {line.actor for line in lines} == {f"device:{device.id}"}


def test_a_decommissioned_device_is_not_listened_to(bench: Bench) -> None:
    device = bench.device("cam-1")
    bench.operator.decommission("cam-1")
    reply = device.desired()
    assert (reply.status_code, message(reply)) == (
        401,
        f"[E610] device {device.id} must not be decommissioned. Enrol it with a new token",
    )


@pytest.mark.parametrize("path", ["/v1/enrol", "/v1/report", "/v1/windows", "/v1/samples"])
def test_what_is_no_json_is_refused_and_nothing_breaks(bench: Bench, path: str) -> None:
    device = bench.device("cam-1")
    reply = bench.http.send(device.request("POST", path, b"{"))
    assert reply.status_code == 400
    assert message(reply).startswith(f"[E606] message of POST {path} must fit its schema, got ")


@pytest.mark.parametrize("path", ["/v1/report", "/v1/windows", "/v1/samples"])
def test_a_strangers_body_is_not_parsed(bench: Bench, path: str) -> None:
    stranger = Device(bench, "cam-1")
    reply = bench.http.send(stranger.request("POST", path, b"{"))
    assert (reply.status_code, message(reply)) == (
        401,
        f"[E602] device {stranger.id} must be enrolled here. Enrol it with a new token",
    )
    reply = bench.http.post(path, content=b"{")
    assert message(reply) == "[E401] request must be signed, got no Signature-Input header"


def test_a_strangers_enrolment_leaves_no_row_behind(bench: Bench) -> None:
    assert Device(bench, "cam-1").enrol("guessed").status_code == 401
    with bench.app.state.plane.database.read() as session:
        assert session.query(NonceRow).count() == 0


def test_a_decommissioned_device_frees_its_name(bench: Bench) -> None:
    old = bench.device("cam-1")
    bench.operator.decommission("cam-1")
    new = bench.device("cam-1")
    assert {view.id: view.name for view in bench.operator.devices()} == {
        old.id: f"cam-1~{old.id}",
        new.id: "cam-1",
    }
    assert bench.operator.device("cam-1").id == new.id
    assert list(bench.operator.audit())[-1].detail["name_was_of"] == old.id


def test_a_device_that_lost_its_progress_is_listened_to_again(bench: Bench) -> None:
    device = bench.device("cam-1")
    for _ in range(3):
        device.runs(1)
    late = device.request("POST", "/v1/report", b'{"moves": 2, "state": "idle", "target": "x"}')
    bench.clock.sleep(1)
    device.moves = -1
    assert device.report(state="downloading").status_code == 200
    said = bench.operator.device("cam-1").report
    assert said is not None
    assert said.moves == 0
    line = next(one for one in bench.operator.audit() if one.action == "device.began_again")
    assert (line.actor, line.detail) == (f"device:{device.id}", {"from": 3, "to": 0})
    for _ in range(3):
        device.runs(1)
    assert bench.http.send(late).status_code == 409  # signed before: out of order, not begun again


@pytest.mark.parametrize("seconds", [0, 0.05, 4000, float("inf"), float("nan")])
def test_a_device_is_not_told_to_ask_without_pause_or_never(seconds: float) -> None:
    with pytest.raises(ValidationError):
        Desired(poll_seconds=seconds)
    with pytest.raises(ValidationError):
        Enrolled(device="d", poll_seconds=seconds)


def test_labels_that_no_selector_can_ask_for_are_refused(bench: Bench) -> None:
    token = bench.operator.create_token().token
    said = {"token": token, "name": "cam-1", "target": "x", "public_key": ""}
    body = Raw(said=said | {"labels": {"a": "b,c"}})
    reply = Device(bench, "cam-1").send("POST", "/v1/enrol", body)
    assert (reply.status_code, message(reply)) == (
        400,
        "[E606] message of POST /v1/enrol must fit its schema, "
        "got labels.a: String should match pattern '^[^,=]{1,128}$'",
    )


def test_evidence_that_is_no_number_is_null(bench: Bench) -> None:
    device = bench.device("cam-1")
    evidence = {"a": float("nan"), "b": [1.5, float("inf")]}
    outcome = {"digest": digest(1), "rollout": 1, "result": "REJECTED", "evidence": evidence}
    assert device.report(outcome=outcome).status_code == 200
    said = bench.operator.device("cam-1").report
    assert said is not None
    assert said.outcome is not None
    assert said.outcome.evidence == {"a": None, "b": [1.5, None]}
