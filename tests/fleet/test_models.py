"""Several models in one control plane: whose device it is, and what reaches it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from fleet_bench import Bench, Device, message, plan, ref
from sqlalchemy import create_engine
from typer.testing import CliRunner

from edgeloop.cli import device as device_commands
from edgeloop.cli.main import app
from edgeloop.errors import ConflictError
from edgeloop.fleet import migrations
from edgeloop.fleet.database import Database
from edgeloop.protocol.messages import Group, Sample, Samples

AT_ONCE = Group(select="all", stages=("100%",))


def known(bench: Bench, name: str) -> tuple[str | None, str | None]:
    view = bench.operator.device(name)
    return view.model, view.channel


def release(device: Device) -> Any:
    return device.desired().json()["release"]


def skipped(bench: Bench) -> list[str]:
    lines = bench.operator.audit()
    return [line.detail["reason"] for line in lines if line.action == "device.skipped"]


def test_a_rollout_reaches_devices_of_its_model_and_channel_alone(bench: Bench) -> None:
    ours, other = bench.device("cam-1"), bench.device("gate-1", model="forecaster")
    beta = Device(bench, "cam-2")
    beta.enrol(bench.operator.create_token().token, channel="beta")
    bench.list_release(1, plan(AT_ONCE, soak_seconds=0))
    bench.list_release(2, plan(AT_ONCE, soak_seconds=0), name="forecaster")
    first, second = bench.go(1), bench.go(2, "forecaster")
    assert bench.states(first) == {"cam-1": "IN_PROGRESS"}
    assert bench.states(second) == {"gate-1": "IN_PROGRESS"}
    assert release(ours) == ref(1).model_dump()
    assert release(other) == ref(2, "forecaster").model_dump()
    assert (release(beta), skipped(bench)) == (None, [])


def test_a_selector_that_names_only_devices_of_other_models_is_told(bench: Bench) -> None:
    bench.device("cam-1", site="south")
    bench.device("gate-1", model="forecaster", site="north")
    bench.list_release(1, plan(Group(select="site=north"), Group(select="site=south")))
    assert bench.operator.create_rollout("sorter", "stable", 1).warnings == (
        "group site=north matches no device of stable/sorter that no group before it has",
    )
    bench.list_release(2, plan(Group(select="site=south")), name="forecaster")
    with pytest.raises(ConflictError) as caught:
        bench.go(2, "forecaster")
    assert str(caught.value) == (
        "[E604] rollout 2 must select a device of stable/forecaster by its groups (site=south), "
        "got 0"
    )


def test_a_device_of_no_known_model_is_offered_nothing_until_a_report_names_it(
    bench: Bench,
) -> None:
    bench.device("cam-1")
    older = bench.device("old", model=None)
    assert known(bench, "old") == (None, None)
    bench.list_release(1, plan(AT_ONCE))
    assert bench.states(bench.go(1)) == {"cam-1": "IN_PROGRESS"}
    assert skipped(bench) == ["device is of no known model"]
    older.report()
    assert known(bench, "old") == (None, None)
    older.report(model="sorter")  # the agent was updated
    assert known(bench, "old") == ("sorter", "stable")
    bench.operator.stop(1)
    assert bench.states(bench.go(1))["old"] == "IN_PROGRESS"


def test_the_model_of_an_older_agent_is_what_it_reports_running(bench: Bench) -> None:
    bench.device("old", model=None).runs(7, name="forecaster")
    assert known(bench, "old") == ("forecaster", "stable")
    line = next(one for one in bench.operator.audit() if one.action == "device.model")
    assert line.detail == {"model": "forecaster", "channel": "stable"}


def test_a_token_names_the_model_of_an_older_agent(bench: Bench) -> None:
    token = bench.operator.create_token(model="forecaster", channel="beta").token
    Device(bench, "old").enrol(token, model=None)
    assert known(bench, "old") == ("forecaster", "beta")


def test_a_token_for_another_model_is_refused_and_not_spent(bench: Bench) -> None:
    token = bench.operator.create_token(model="sorter").token
    device = Device(bench, "cam-1")
    reply = device.enrol(token, model="forecaster", channel="beta")
    assert (reply.status_code, message(reply)) == (
        409,
        "[E604] device cam-1 must follow stable/sorter, which its token is for, "
        "got beta/forecaster. "
        "Enrol it for that model, or ask an operator for a token for this one",
    )
    assert device.enrol(token, model="sorter").status_code == 200


def test_a_device_that_follows_another_model_by_now_leaves_the_rollout(bench: Bench) -> None:
    devices = {name: bench.device(name) for name in ("cam-1", "cam-2", "cam-3")}
    bench.list_release(1, plan(Group(select="all", stages=(1, 2, "100%"))))
    rollout = bench.go(1)
    states = bench.states(rollout)
    devices[next(name for name in states if states[name] == "IN_PROGRESS")].runs(1)
    bench.tick(11)  # one has it, one was offered it, one waits
    for job in reversed(bench.operator.rollout(rollout).jobs):  # the one that waits first
        devices[job.device_name].report(model="forecaster", channel="beta")
        assert release(devices[job.device_name]) is None
    bench.tick(11)
    jobs = bench.operator.rollout(rollout).jobs
    why = "device is of beta/forecaster"
    assert [(job.state, job.reason, job.offered is None) for job in jobs] == [
        ("SUCCEEDED", "", False),
        ("REMOVED", why, False),
        ("REMOVED", why, True),
    ]


def test_a_pin_to_another_models_release_is_refused(bench: Bench) -> None:
    bench.device("cam-1")
    bench.list_release(1, name="forecaster")
    with pytest.raises(ConflictError) as caught:
        bench.operator.pin("cam-1", "forecaster", "stable", 1)
    assert str(caught.value) == (
        "[E604] pin of device cam-1 must be to a release of stable/sorter, which it follows, "
        "got stable/forecaster"
    )
    bench.device("old", model=None)
    assert bench.operator.pin("old", "forecaster", "stable", 1).pinned == ref(1, "forecaster")


def test_samples_are_asked_of_one_models_devices(bench: Bench) -> None:
    camera, gateway = bench.device("cam-1"), bench.device("gate-1", model="forecaster")
    request = bench.operator.request_samples("all", 5, model="sorter")
    assert (request.model, gateway.desired().json()["samples"]) == ("sorter", None)
    asked = {"id": request.id, "count": 5, "model": "sorter"}
    assert camera.desired().json()["samples"] == asked
    sent = Samples(request=request.id, samples=(Sample(answer="a", inputs={}, truth=1),))
    assert gateway.send("POST", "/v1/samples", sent).status_code == 404
    assert camera.send("POST", "/v1/samples", sent).json() == {"accepted": ["a"]}


def test_devices_are_listed_by_model(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_commands, "connect", lambda _fleet: bench.operator)
    bench.device("cam-1")
    bench.device("gate-1", model="forecaster")
    bench.device("old", model=None)

    def rows(*more: str) -> list[list[str]]:
        text = CliRunner().invoke(app, ["device", "list", *more]).stdout
        return [line.split()[:2] for line in text.splitlines()[1:]]

    assert rows() == [["cam-1", "sorter"], ["gate-1", "forecaster"], ["old", "not"]]
    assert rows("--model", "forecaster") == [["gate-1", "forecaster"]]
    said = CliRunner().invoke(app, ["device", "list", "--model", "sorter", "--format", "json"])
    assert [row["model"] for row in json.loads(said.stdout)] == ["sorter"]


def test_devices_from_before_follow_what_they_report_running(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    _at_third_migration(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for name, report in (
            ("runs", {"running": ref(3, "forecaster").model_dump()}),
            ("idle", {}),
        ):
            _insert_device(connection, name, report)
    Database(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT id, model, channel FROM devices ORDER BY id").fetchall()
    assert found == [("idle", None, None), ("runs", "forecaster", "stable")]


def _at_third_migration(path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", next(iter(migrations.__path__)))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    engine.dispose()


def _insert_device(connection: sqlite3.Connection, name: str, report: dict[str, Any]) -> None:
    row = {
        "id": name, "name": name, "public_key": "", "labels": "{}", "target": "linux-x86",
        "runtimes": "[]", "agent_version": "", "enrolled": 0, "moves": 1,
        "report": json.dumps(report), "last_seen": 0, "reported": 0, "signed": 0, "changed": 0,
        "hold": 0, "decommissioned": 0,
    }  # fmt: skip
    marks = ", ".join(f":{column}" for column in row)
    connection.execute(f"INSERT INTO devices ({', '.join(row)}) VALUES ({marks})", row)
