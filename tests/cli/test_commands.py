"""The command line: results on stdout, errors with number and exit code, JSON everywhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeloop.cli.loop import _row
from edgeloop.cli.main import app
from edgeloop.errors import all_errors
from edgeloop.loop.file import load_loop
from edgeloop.loop.runner import run_loop
from edgeloop.loop.start import kinds
from edgeloop.store.artifacts import Store
from edgeloop.types import Finding, Verdict

RUNNER = CliRunner()


def call(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def told(*arguments: object):
    return json.loads(call(*arguments, "--format", "json"))


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "edgeloop.cli.main", *(str(a) for a in arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture
def ran(loop_path: Path) -> Path:
    loop = load_loop(loop_path)
    run_loop(loop, Store(loop.path(loop.settings.store)))
    return loop_path.parent


def test_init_writes_a_loop_file_that_validates_with_its_schema_beside_it(tmp_path):
    path = told("init", tmp_path / "new")["loop"]
    assert told("validate", path) == {"valid": True, "name": "sorter"}
    assert Path(path).read_text().startswith("# yaml-language-server: $schema=loop.schema.json\n")
    assert "properties" in json.loads((tmp_path / "new" / "loop.schema.json").read_text())


def test_init_never_overwrites(tmp_path):
    call("init", tmp_path)
    second = program("init", tmp_path)
    path = tmp_path / "loop.yaml"
    assert (second.returncode, second.stderr) == (
        2,
        f"[E103] {path} must not be there yet. Choose another folder\n",
    )


def test_an_unknown_kind_names_those_there_are(tmp_path):
    result = program("init", tmp_path, "--kind", "poem")
    assert result.stderr == f"[E103] --kind poem must be one of {', '.join(kinds())}\n"


def test_an_error_goes_to_stderr_with_its_exit_code_and_as_json_when_asked(tmp_path):
    missing = tmp_path / "loop.yaml"
    plain = program("validate", missing)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr == (
        f"[E101] {missing} must be a file that can be read, got No such file or directory."
        " See `edgeloop init`\n"
    )
    asked = program("validate", missing, "--format", "json")
    error = json.loads(asked.stderr)["error"]
    assert error == {"number": "E101", "message": plain.stderr.rstrip("\n"), "faults": []}


def test_the_faults_of_a_loop_file_are_told_to_programs_one_by_one(loop_path):
    loop_path.write_text(loop_path.read_text() + "seed: 2001-01-01\nsurprise: 1\n")
    asked = program("validate", loop_path, "--format", "json")
    assert json.loads(asked.stderr)["error"]["faults"][-1] == {
        "line": 9,
        "field": "surprise",
        "rule": "must be a known field",
        "value": 1,
    }


def test_ls_show_lineage_verify_and_gc_tell_of_a_store(ran):
    store = ran / ".edgeloop"
    rows = told("ls", "--store", store)
    assert {row["kind"] for row in rows} == {"snapshot", "model", "finding", "bundle", "run"}
    bundle = next(row for row in rows if row["kind"] == "bundle")
    assert bundle["tags"] == "toy-stable-1"
    shown = told("show", "toy-stable-1", "--store", store)
    assert shown["meta"]["name"] == "toy"
    story = told("lineage", "toy-stable-1", "--store", store, "--repository", ran / "repository")
    assert [step["plugin"] for step in story["steps"]] == [
        "source/toy.v1", "split/stratified.v1", "recipe/toy.v1", "pass/toy_round.v1",
        "bundle/bundle.v1",
    ]  # fmt: skip
    assert story["checks"][0]["verdict"] == "pass"
    assert story["signers"][0]["target"] == "stable/_toy.1.json"
    assert told("verify", "--store", store)["faults"] == []
    assert told("gc", "--store", store)["bytes"] >= 0
    assert told("verify", "--store", store)["faults"] == []


def test_a_run_tells_limits_and_what_is_released_already(loop_path):
    first = call("run", loop_path).splitlines()
    assert first[0].split() == ["check", "verdict", "value", "95", "%", "interval", "limit"]
    assert first[1] == "  toy_right  pass     1                     >= 0.9"
    assert first[2].startswith("release 1 of stable/toy: sha256:")
    assert first[2].endswith(" (6 of 6 steps ran)")
    assert (
        call("run", loop_path).splitlines()[2].startswith("already released as 1 of stable/toy: ")
    )
    call("run", loop_path, "passes.0.toy_round.digits=4")
    again = told("run", loop_path)
    assert (again["already_released"], again["newest_release"]) == (True, 2)
    last = call("run", loop_path).splitlines()[2]
    assert last.startswith("already released as 1 of stable/toy, whose newest is 2: sha256:")


def test_a_check_shows_its_interval_and_why_it_has_no_value():
    measured = Finding(
        check="a", verdict=Verdict.PASS, value=0.5, unit="ms", limit="<= 1 ms", interval=(0.4, 0.61)
    )
    first = Finding(check="b", verdict=Verdict.PASS, reason="nothing before it")
    assert _row(measured) == ("a", "pass", "0.5 ms", "0.4 to 0.61", "<= 1 ms")
    assert _row(first) == ("b", "pass", "", "", "nothing before it")


def test_a_damaged_store_is_exit_code_3(ran):
    store = Store(ran / ".edgeloop")
    path = store.layout.blob(store.open("toy-stable-1").layers[0].digest)
    path.chmod(0o644)
    path.write_bytes(b"changed")
    result = RUNNER.invoke(app, ["verify", "--store", str(store.folder)])
    assert result.exit_code == 3
    assert "must have the bytes that its digest names" in result.stdout


def test_a_store_that_is_not_there_is_said(tmp_path):
    result = program("ls", "--store", tmp_path / "none")
    assert (result.returncode, result.stderr) == (
        3,
        f"[E201] store {tmp_path / 'none'} must be there."
        " Run `edgeloop run` first, or name it with --store\n",
    )


def test_release_lists_delists_and_sets_a_floor(ran):
    loop = ran / "loop.yaml"
    assert [row["version"] for row in told("release", "list", "--loop", loop)] == [1]
    assert told("release", "floor", 1, "--loop", loop) == {"floor": 1}
    assert told("release", "refresh", "--loop", loop) == {
        "refreshed": ["root", "snapshot", "stable", "targets", "timestamp"]
    }
    assert told("release", "delist", 1, "--loop", loop) == {"delisted": 1}
    assert told("release", "list", "--loop", loop) == []


def test_a_fleet_command_without_a_control_plane_says_how_to_start_one(tmp_path):
    result = program("fleet", "status", "--fleet", tmp_path / "fleet")
    assert (result.returncode, result.stderr) == (
        7,
        "[E601] control plane of fleet must be running. `edgeloop fleet up` starts one\n",
    )


def test_a_control_plane_by_url_needs_a_token():
    result = program("fleet", "status", "--fleet", "http://127.0.0.1:9")
    assert (result.returncode, result.stderr) == (
        7,
        "[E602] control plane http://127.0.0.1:9 needs a token. Set EDGELOOP_TOKEN\n",
    )


def test_fleet_up_starts_a_control_plane_once_and_fleet_stop_ends_it(ran):
    folder, loop = ran / "fleet", ran / "loop.yaml"
    first = told("fleet", "up", "--folder", folder, "--loop", loop)
    try:
        assert told("fleet", "up", "--folder", folder, "--loop", loop) == first
        status = told("fleet", "status", "--fleet", folder)
        assert (status["health"]["status"], status["devices"]) == ("ok", [])
        token = told("fleet", "token", "--fleet", folder, "--label", "site=north")
        assert token["labels"] == {"site": "north"}
        actions = [line["action"] for line in told("fleet", "audit", "--fleet", folder)]
        assert actions == ["operator.created", "token.created"]
        assert told("rollout", "list", "--fleet", folder) == []
        draft = told("rollout", "start", "--draft", "--loop", loop, "--fleet", folder)
        assert (draft["state"], draft["version"]) == ("draft", 1)
        port = int(first["url"].rpartition(":")[2])
        line = ["fleet", "up", "--folder", ran / "other", "--loop", loop, "--port", port]
        taken = RUNNER.invoke(app, [str(part) for part in line]).exception
        assert str(taken) == (
            f"[E605] port {port} must be free, got another program on it."
            " Choose another with --port; 0 takes any free one"
        )
    finally:
        assert told("fleet", "stop", "--folder", folder) == {"stopped": True}
    assert told("fleet", "stop", "--folder", folder) == {"stopped": False}


def test_help_and_the_package_itself_import_nothing_heavy():
    code = (
        "import sys, edgeloop, edgeloop.cli.main; "
        "print(sorted({'torch', 'pandas', 'mlflow', 'numpy', 'fastapi', 'pydantic'}"
        " & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"


def test_numbers_of_errors_are_unique_and_every_exit_code_is_a_kind():
    numbers = [error.number for error in all_errors() if error.__module__ == "edgeloop.errors"]
    assert len(numbers) == len(set(numbers)) >= 30
    assert {e.exit_code for e in all_errors()} == {2, 3, 4, 5, 6, 7, 8}
