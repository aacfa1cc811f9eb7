"""What the commands of a fleet print, and how they refuse values that mean nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fleet_bench import Bench, digest, plan
from typer.testing import CliRunner

from edgeloop.cli import device, fleet, rollout
from edgeloop.cli.main import app
from edgeloop.cli.output import ago, fields
from edgeloop.protocol.messages import Group

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def connected(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fleet, device, rollout):
        monkeypatch.setattr(module, "connect", lambda _fleet: bench.operator)


def call(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def told(*arguments: object) -> Any:
    return json.loads(call(*arguments, "--format", "json"))


def lines(text: str) -> list[str]:
    """The lines of a table, with one space between two words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def a_fleet(bench: Bench) -> None:
    for name, site in (("b", "south"), ("a", "south"), ("c", "north"), ("old", "north")):
        bench.device(name, site=site).runs(1, answers=7)
    bench.list_release(1)
    bench.operator.hold("a")
    bench.operator.pin("b", "sorter", "stable", 1)
    bench.operator.decommission("old")
    bench.clock.sleep(12)


def test_the_status_has_a_line_for_each_device_by_labels_and_name(bench: Bench) -> None:
    a_fleet(bench)
    first, *rows = call("fleet", "status").splitlines()
    assert first == "http://plane: ok, 3 devices, 1 decommissioned (shown with --all)"
    assert lines("\n".join(rows)) == [
        "name labels model state waits for release also answers hold pin last seen",
        "c site=north sorter idle stable/sorter 1 7 12 s ago",
        "a site=south sorter idle stable/sorter 1 7 on hold 12 s ago",
        "b site=south sorter idle stable/sorter 1 7 1 12 s ago",
    ]


def test_decommissioned_devices_come_last_when_all_are_asked_for(bench: Bench) -> None:
    a_fleet(bench)
    last = lines(call("fleet", "status", "--all"))[-1]
    assert last == "old site=north sorter decommissioned stable/sorter 1 7 12 s ago"


def test_the_status_as_json_has_every_device_whole(bench: Bench) -> None:
    a_fleet(bench)
    rows = told("fleet", "status")["devices"]
    assert [row["name"] for row in rows] == ["c", "a", "b", "old"]
    held, pinned, gone = rows[1:]
    assert (held["hold"], pinned["pinned"]["version"], gone["decommissioned"]) == (True, 1, True)
    assert (held["labels"], held["seen_seconds_ago"]) == ({"site": "south"}, 12.0)
    assert held["report"]["running"]["digest"] == digest(1)
    assert (held["version"], held["answers"]) == (1, 7)


def test_the_log_shows_details_and_its_end_alone_when_asked(bench: Bench) -> None:
    for number in range(3):
        bench.operator.note("trigger.fired", f"group:{number}", {"psi": 0.5, "why": "two words"})
    header, row = lines(call("fleet", "audit", "--last", "1"))
    assert header == "id time actor action subject detail"
    assert row.endswith(' operator:first trigger.fired group:2 psi=0.5 why="two words"')
    rows = told("fleet", "audit", "--last", "2")
    assert [line["subject"] for line in rows] == ["group:1", "group:2"]
    assert rows[0]["detail"] == {"psi": 0.5, "why": "two words"}
    assert told("fleet", "audit", "--after", rows[0]["id"], "--last", "9") == rows[1:]


def test_a_change_of_a_device_is_one_line(bench: Bench) -> None:
    bench.device("cam-1")
    assert call("device", "hold", "cam-1") == "cam-1 is on hold: no rollout selects it\n"
    assert told("device", "unhold", "cam-1")["hold"] is False
    assert call("device", "decommission", "cam-1") == (
        "cam-1 is decommissioned, for ever: it goes on answering, and nobody listens\n"
    )


def test_a_rollout_shows_what_goes_out_to_whom_and_its_warnings(bench: Bench) -> None:
    for number in range(2):
        bench.device(f"cam-{number}", site="south")
    groups = Group(select="site=south", stages=(1, "100%")), Group(select="site=north")
    bench.list_release(1, plan(*groups))
    bench.go(1, start=False)
    assert call("rollout", "show", "1").splitlines()[:4] == [
        "rollout 1 of stable/sorter 1: draft",
        f"  release {digest(1)}",
        "  group site=south: stages 1, 100%",
        "  group site=north: stages 1, 50%, 100%",
    ]
    assert call("rollout", "resume", "1").splitlines() == [
        "rollout 1 of stable/sorter 1: running, 1 IN_PROGRESS, 1 QUEUED",
        f"  release {digest(1)}",
        "  group site=south: 2 devices, stages 1, 100%",
        "  group site=north: 0 devices, stages 1, 50%, 100%",
        "  warning: group site=north matches no device of stable/sorter that no group before it"
        " has",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "fleet up --port 99999", "fleet up --poll nan", "fleet up --poll -1",
        "fleet token --hours -3", "fleet token --hours nan", "fleet token --hours 1e308",
        "fleet audit --after 99999999999999999999", "fleet audit --last 0",
        "device pin cam-1 0", "rollout show 99999999999999999999", "rollout rollback 1 --to 0",
        "watch --every -1", "watch --every nan", "watch --turns -1",
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_wrong_usage(line: str) -> None:
    assert RUNNER.invoke(app, line.split()).exit_code == 2


@pytest.mark.parametrize("label", ["a=", "ä=b", "a=b,c=d", "a=\udcff", "a=" + "b" * 129])
def test_a_label_that_no_selector_could_ask_for_is_refused(label: str) -> None:
    error = RUNNER.invoke(app, ["fleet", "token", "--label", label]).exception
    assert str(error) == (
        "[E103] --label must be name=value: up to 64 of A-Z a-z 0-9 . _ -, and up to 128 without "
        f", and =, got {ascii(label)[:200]}"
    )


@pytest.mark.parametrize("name", ["", "..", "nobody", "\udcff", "a" * 5000])
def test_a_device_that_is_not_there_is_told(name: str) -> None:
    error = RUNNER.invoke(app, ["device", "show", name]).exception
    assert str(error).startswith("[E603] device ")


@pytest.mark.parametrize("number", [0, 2**63, 10**30])
def test_a_number_that_no_database_keeps_is_refused_by_the_control_plane(
    bench: Bench, number: int
) -> None:
    reply = bench.operator._send(
        "GET",
        f"http://plane/v1/rollouts/{number}",
        {"Authorization": f"Bearer {bench.operator._token}"},
        b"",
    )
    assert reply[0] == 400


def test_a_time_that_passed_is_said_in_a_persons_unit() -> None:
    seconds = (-1, 12.4, 119, 120, 7199, 7200, 172_800)
    assert [ago(one) for one in seconds] == [
        "0 s ago", "12 s ago", "119 s ago", "2 min ago", "120 min ago", "2 h ago", "2 d ago",
    ]  # fmt: skip


def test_details_are_shortened_in_text() -> None:
    assert fields({"digest": digest(1), "why": "é" * 99, "of": None, "labels": {"a": "b"}}) == (
        f"digest=sha256:000000000000… why={'é' * 59}… of=null labels=" + '{"a": "b"}'
    )
