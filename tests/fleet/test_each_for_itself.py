"""One device neither reads nor writes for another, on every path that is served."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fleet_bench import Bench, Device, digest, message, ref
from sqlalchemy import select

from edgeloop.fleet.models import Table
from edgeloop.protocol import keys
from edgeloop.protocol.proofs import Use, prove

WINDOW = {"id": "a" * 32, "bundle": digest(1), "version": 1, "began": 1.0, "ended": 2.0}
SAMPLE = {"answer": "7", "inputs": {}, "truth": 1}


def bodies(device: Device) -> dict[tuple[str, str], dict[str, Any] | None]:
    """What a device sends to each path of devices, well-formed."""
    key = keys.generate()
    pem = keys.public_pem(key.public_key())
    return {
        ("POST", "/v1/enrol"): {
            "token": "t", "name": device.name, "public_key": pem, "target": "linux-x86",
        },
        ("POST", "/v1/claim"): {
            "certificates": "", "public_key": pem, "proof": "", "target": "linux-x86",
        },
        ("POST", "/v1/rotate"): {
            "public_key": pem, "proof": prove(key, Use.ROTATE, device.id),
        },
        ("POST", "/v1/certificate"): {"request": "none"},
        ("GET", "/v1/desired"): None,
        ("POST", "/v1/report"): {
            "moves": 99, "state": "idle", "target": "linux-x86", "running": ref(1).model_dump(),
        },
        ("POST", "/v1/windows"): {"windows": [WINDOW | {"answers": 5}]},
        ("POST", "/v1/samples"): {"request": 1, "samples": [SAMPLE]},
    }  # fmt: skip


def served(bench: Bench, tag: str) -> set[tuple[str, str]]:
    """Method and path of every route that is served now."""
    paths = bench.app.openapi()["paths"]
    return {
        (verb.upper(), path)
        for path, verbs in paths.items()
        for verb, what in verbs.items()
        if what["tags"] == [tag]
    }


def rows_of(bench: Bench, device: Device) -> list[str]:
    """Every row in which a device is named, but for its signatures that were seen."""
    found = []
    with bench.app.state.plane.database.read() as session:
        for table in Table.metadata.sorted_tables:
            if table.name == "nonces":
                continue
            rows = session.execute(select(table)).mappings()
            found += [f"{table.name} {dict(row)}" for row in rows if device.id in str(dict(row))]
    return found


@pytest.fixture
def two(bench: Bench) -> tuple[Device, Device]:
    """Two devices, each with a rollout, a window and a request for samples."""
    one, two = bench.device("cam-1"), bench.device("cam-2")
    bench.list_release(1)
    bench.go(1)
    for device in (one, two):
        device.runs(1)
    bench.operator.request_samples("all", 10)
    return one, two


def test_every_path_of_devices_is_tried_here(bench: Bench, two: tuple[Device, Device]) -> None:
    assert set(bodies(two[0])) == served(bench, "devices")
    assert {path.partition("/")[0] for _, path in served(bench, "bytes")} == {""}


def test_who_signs_with_another_key_is_refused_on_every_path(
    bench: Bench, two: tuple[Device, Device]
) -> None:
    one, other = two
    thief = Device(bench, "cam-2", key=one.key, known_as=other.id)  # says that it is the other
    before = rows_of(bench, other)
    for (method, path), told in bodies(other).items():
        body = json.dumps(told).encode() if told else b""
        reply = bench.http.send(thief.request(method, path, body))
        assert reply.status_code == 401, (method, path, reply.text)
    assert rows_of(bench, other) == before


def test_what_a_device_says_of_another_changes_nothing_there(
    bench: Bench, two: tuple[Device, Device]
) -> None:
    one, other = two
    before = rows_of(bench, other)
    also = {"device": other.id, "device_id": other.id, "id": other.id, "key_id": other.id}
    tried = 0
    for (method, path), told in bodies(one).items():
        for query in ("", f"?device={other.id}&key={other.name}"):
            body = json.dumps(told | also).encode() if told else b""
            request = one.request(method, path + query, body, **{"X-Device": other.id})
            reply = bench.http.send(request)
            tried += 1
            assert other.id not in reply.text
            assert reply.status_code != 500, (method, path, reply.text)
    assert tried == 2 * len(bodies(one))
    assert rows_of(bench, other) == before


def test_a_device_asks_nothing_that_operators_ask(bench: Bench, two: tuple[Device, Device]) -> None:
    one, other = two
    before = rows_of(bench, other)
    for method, path in served(bench, "operators") - {("GET", "/healthz")}:
        url = path.replace("{number}", "1").replace("{key}", other.name) + "?request=1"
        reply = bench.http.send(one.request(method, url, b"" if method == "GET" else b"{}"))
        assert reply.status_code == 401, (method, path)
        assert message(reply).startswith("[E602] request must bear an operator's token")
    assert rows_of(bench, other) == before


def test_a_token_claim_or_next_key_of_one_device_serves_no_other(
    bench: Bench, two: tuple[Device, Device]
) -> None:
    one, other = two
    for_other = bench.operator.create_token(renews="cam-2").token
    reply = one.enrol(for_other)
    assert (reply.status_code, message(reply)) == (
        409,
        "[E604] device name cam-1 must be cam-2, which its token is for",
    )
    reply = Device(bench, "cam-2", key=one.key).enrol(for_other)
    assert message(reply) == f"[E604] device {one.id} must not be enrolled already"
    assert other.desired().status_code == 200
