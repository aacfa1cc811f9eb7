"""``python -m edgeloop.agent`` as a person or a service manager runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import urllib3
from tests.agent.test_update import installed
from tests.agent.world import Factory, World
from typer.testing import CliRunner

from edgeloop.agent.__main__ import main, status
from edgeloop.cli.main import app

SOURCE = Path(__file__).parents[2] / "src"


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgeloop.agent", "run", "--folder", str(folder), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    """A device with release 1, whose agent does not run; its control plane cannot be reached."""
    installed(world)
    world.fleet.agents.pop("d1").close()
    folder = tmp_path / "fleet" / "d1"
    settings = json.loads((folder / "agent.json").read_text())
    settings["server"] = "http://127.0.0.1:9"
    (folder / "agent.json").write_text(json.dumps(settings))
    return folder


def test_an_agent_answers_over_http_without_a_network_and_ends_on_sigterm(folder: Path) -> None:
    with start(folder, "--listen", "127.0.0.1:0", "--until-stdin-closes") as process:
        about = first_line(process)
        assert json.loads((folder / "endpoint.json").read_text()) == about
        assert urllib3.request("GET", f"{about['url']}/v2/health/ready").status == 200
        said = status(folder)
        assert (said["running"], said["pid"]) == (True, process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not (folder / "endpoint.json").exists()


def test_an_agent_ends_when_its_standard_input_closes(folder: Path) -> None:
    with start(folder, "--until-stdin-closes") as process:
        assert first_line(process)["url"] is None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


def test_status_says_what_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--folder", str(folder)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads(json.dumps(status(folder)))
    assert (said["state"], said["current"]["version"], said["failed"]) == ("committed", 1, {})
    assert (said["running"], said["pid"]) == (False, None)


def test_an_error_goes_to_stderr_with_its_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--folder", str(tmp_path)]) == 6
    assert capsys.readouterr().err == (
        f"[E504] agent folder {tmp_path} must be enrolled, got no agent.json. "
        "Run `python -m edgeloop.agent enrol`\n"
    )


def test_a_label_has_a_name_and_a_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root.json"
    root.write_text("{}")
    told = ["enrol", "--folder", str(tmp_path), "--server", "http://127.0.0.1:9", "--token", "t"]
    told += ["--name", "d1", "--model", "sorter", "--root", str(root), "--label", "south"]
    assert main(told) == 2
    assert capsys.readouterr().err == "[E103] --label must be name=value, got 'south'\n"


def test_a_control_plane_that_is_not_there_is_named(
    tmp_path: Path, factory: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(factory.repository.root())
    told = ["enrol", "--folder", str(tmp_path), "--server", "http://127.0.0.1:9", "--token", "t"]
    told += ["--name", "d1", "--model", "sorter", "--root", str(root), "--label", "site=south"]
    assert main(told) == 7
    assert capsys.readouterr().err == (
        "[E601] http://127.0.0.1:9/v1/enrol must answer, got HTTPConnection(host='127.0.0.1', "
        "port=9): Failed to establish a new connection: [Errno 111] Connection refused\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ["fleet", "token", "--label", "south"],
        [
            *("agent", "enrol", "d1", "--server", "http://127.0.0.1:9", "--token", "t"),
            *("--model", "sorter", "--root", __file__, "--label", "south"),
        ],
    ],
)
def test_a_label_is_a_pair_on_every_command_line(command: list[str]) -> None:
    fault = CliRunner().invoke(app, command).exception
    assert str(fault) == "[E103] --label must be name=value, got 'south'"
