"""Who may ask as an operator, what the audit log keeps, and what the client says."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fleet_bench import URL, Bench, message
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from edgeloop.errors import (
    NotFoundError,
    ProtocolError,
    UnauthorizedError,
    UnreachableError,
    all_errors,
)
from edgeloop.fleet import faults
from edgeloop.fleet.client import FleetClient, error_of
from edgeloop.fleet.models import Table

TODO = "The first one is in operator.token in the control plane's folder"


def test_a_wrong_token_is_refused(bench: Bench) -> None:
    stranger = FleetClient(URL, "guessed", bench.transport)
    with pytest.raises(UnauthorizedError) as caught:
        stranger.devices()
    assert str(caught.value) == f"[E602] operator's token must be known here. {TODO}"


def test_no_token_is_refused_on_every_path_of_operators(bench: Bench) -> None:
    paths = bench.app.openapi()["paths"]
    asked = 0
    for path, verbs in paths.items():
        for verb, what in verbs.items():
            if what["tags"] != ["operators"] or path == "/healthz":
                continue
            asked += 1
            url = path.replace("{number}", "1").replace("{key}", "x")
            reply = bench.http.request(verb.upper(), url, params={"request": "1"}, json={})
            assert reply.status_code == 401, (verb, path)
            assert message(reply) == f"[E602] request must bear an operator's token. {TODO}"
    assert asked == 30


def test_every_path_has_a_description(bench: Bench) -> None:
    for path, verbs in bench.app.openapi()["paths"].items():
        for verb, what in verbs.items():
            assert what.get("description"), (verb, path)


def test_the_first_token_is_made_once_and_for_its_owner_alone(bench: Bench) -> None:
    path = bench.folder / "operator.token"
    token = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    bench.restart()
    assert path.read_text() == token
    assert bench.operator.devices() == []
    path.unlink()
    bench.restart()
    assert path.read_text() != token
    assert bench.operator.devices() == []


def test_no_token_is_kept_in_the_clear(bench: Bench) -> None:
    token = bench.operator.create_token().token
    operator = (bench.folder / "operator.token").read_text().strip()
    kept = b"".join(path.read_bytes() for path in bench.folder.glob("fleet.db*"))
    assert token.encode() not in kept
    assert operator.encode() not in kept
    assert token not in "".join(str(line) for line in bench.operator.audit())
    assert operator not in repr(bench.operator)


def test_a_device_is_found_by_name_or_id(bench: Bench) -> None:
    device = bench.device("cam-1")
    assert bench.operator.device(device.id) == bench.operator.device("cam-1")
    with pytest.raises(NotFoundError) as caught:
        bench.operator.device("cam/9")
    assert str(caught.value) == "[E603] GET /v1/devices/cam/9 must be a path that is served"
    with pytest.raises(NotFoundError) as caught:
        bench.operator.device("cam-9")
    assert str(caught.value) == (
        "[E603] device cam-9 must be the id or the name of an enrolled device"
    )


def test_the_watch_notes_its_triggers_and_nothing_else(bench: Bench) -> None:
    line = bench.operator.note("trigger.fired", "group:south", {"psi": 0.4})
    assert (line.action, line.actor, line.detail) == (
        "trigger.fired",
        "operator:first",
        {"psi": 0.4},
    )
    with pytest.raises(ProtocolError) as caught:
        bench.operator.note("job.succeeded", "x", {})
    assert str(caught.value) == (
        "[E606] Note must fit its schema, got action: String should match pattern "
        r"'^trigger\.[a-z][a-z_.]{0,60}$'"
    )
    reply = bench.http.post(
        "/v1/audit",
        json={"action": "job.succeeded", "subject": "x"},
        headers={"Authorization": f"Bearer {bench.folder.joinpath('operator.token').read_text()}"},
    )
    assert reply.status_code == 400


def test_the_audit_log_is_read_page_by_page(bench: Bench) -> None:
    for number in range(600):
        bench.operator.note("trigger.fired", str(number), {})
    lines = list(bench.operator.audit(after=1))
    assert [line.subject for line in lines] == [str(number) for number in range(600)]
    assert list(bench.operator.audit(after=lines[-1].id)) == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET actor = 'me'", "DELETE FROM audit", "DELETE FROM audit WHERE id > 0"],
)
def test_the_audit_log_can_not_be_changed_even_in_the_database(
    bench: Bench, statement: str
) -> None:
    engine = create_engine(bench.url)
    with pytest.raises(DBAPIError, match="the audit log is append-only"), engine.begin() as c:
        c.execute(text(statement))
    engine.dispose()
    assert bench.actions() == ["operator.created"]


def test_the_migrations_make_the_tables_that_the_code_reads(bench: Bench) -> None:
    engine = create_engine(bench.url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
    engine.dispose()
    assert differences == []


def test_every_error_comes_back_from_the_wire_as_itself() -> None:
    for kind in all_errors():
        error = kind("thing", "must be good", got=3, todo="Do it")
        status, body = faults.status_of(error), faults.body_of(error)
        back = error_of(status, json_bytes(body))
        assert type(back) is kind
        assert str(back) == str(error)
        assert 400 <= status < 600


def json_bytes(body: Any) -> bytes:
    import json

    return json.dumps(body).encode()


def test_an_answer_that_is_none_of_ours_is_said(bench: Bench) -> None:
    broken = FleetClient(URL, "t", lambda *_: (502, b"<html>bad gateway</html>"))
    with pytest.raises(UnreachableError) as caught:
        broken.devices()
    assert str(caught.value) == ("[E601] control plane must answer as one does, got status 502")
    odd = FleetClient(URL, "t", lambda *_: (200, b"{}"))
    with pytest.raises(ProtocolError) as wrong:
        odd.devices()
    assert str(wrong.value) == "[E606] answer to GET /v1/devices must fit its schema"


def test_no_control_plane_is_said(bench: Bench) -> None:
    with pytest.raises(UnreachableError) as caught:
        FleetClient("http://127.0.0.1:9", "t").devices()
    assert str(caught.value) == (
        "[E601] control plane at http://127.0.0.1:9 must answer, got NewConnectionError. "
        "Is it running? `edgeloop fleet up` starts one"
    )
    with pytest.raises(UnreachableError) as caught:
        FleetClient.of_folder(bench.folder)
    assert str(caught.value) == (
        "[E601] control plane of fleet must be running. `edgeloop fleet up` starts one"
    )


def test_health_says_when_the_rules_were_applied(bench: Bench) -> None:
    assert (bench.operator.health().ticked, bench.operator.health().status) == (None, "ok")
    bench.clock.sleep(31)
    assert bench.http.get("/healthz").status_code == 503  # it began, and never ticked
    bench.tick()
    bench.clock.sleep(31)
    reply = bench.http.get("/healthz")
    assert (reply.status_code, reply.json()["status"]) == (503, "rules are not applied")
    bench.tick()
    assert bench.operator.health().status == "ok"


def test_a_tick_that_fails_is_said_and_the_next_one_is_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[float] = []
    again = threading.Event()

    def bad_row(_session: Session, now: float) -> int:
        asked.append(now)
        if len(asked) > 1:
            again.set()
        raise ValueError("one bad row")

    monkeypatch.setattr("edgeloop.fleet.conduct.tick", bad_row)
    with TestClient(bench.app):
        assert again.wait(10)
    assert bench.app.state.ticked is None
    assert "tick.failed" in caplog.text
    assert "ValueError: one bad row" in caplog.text
