"""``doctor``: what is there, what is missing, and what to do about it."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeloop.cli.main import app
from edgeloop.errors import OverrideError
from edgeloop.loop import ground
from edgeloop.loop.file import load_loop
from edgeloop.loop.runner import run_loop
from edgeloop.store.artifacts import Store


def doctor(*arguments: object) -> tuple[int, dict[str, dict[str, str]]]:
    line = ["doctor", *(str(a) for a in arguments), "--format", "json"]
    result = CliRunner().invoke(app, line)
    return result.exit_code, {row["what"]: row for row in json.loads(result.stdout)}


@pytest.fixture
def without_server(monkeypatch):
    monkeypatch.setitem(ground.EXTRAS, "server", ("no_such_library",))


def test_without_a_loop_file_a_missing_extra_is_no_fault(tmp_path, monkeypatch, without_server):
    monkeypatch.chdir(tmp_path)
    status, rows = doctor()
    assert (status, rows["python"]["good"]) == (0, "yes")
    assert rows["extra server"] == {
        "what": "extra server",
        "good": "no, and not needed",
        "found": "no no_such_library",
        "what_to_do": "pip install -c constraints.txt 'edgeloop[server]'",
    }
    assert rows["loop file"]["what_to_do"] == "`edgeloop init` writes one"


def test_an_extra_that_is_asked_for_and_missing_is_exit_code_8(
    tmp_path, monkeypatch, without_server
):
    monkeypatch.chdir(tmp_path)
    status, rows = doctor("--need", "server")
    assert (status, rows["extra server"]["good"]) == (8, "no")


def test_a_need_that_there_is_not_names_those_there_are():
    raised = CliRunner().invoke(app, ["doctor", "--need", "telepathy"]).exception
    assert isinstance(raised, OverrideError)
    assert str(raised) == f"[E103] --need telepathy must be one of {', '.join(ground.EXTRAS)}"


def test_every_extra_that_people_install_is_looked_for():
    whole = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = set(whole["project"]["optional-dependencies"])
    assert set(ground.EXTRAS) == extras - {"demo", "dev"}  # these two are made of the others


def test_all_that_a_loop_file_names_is_looked_at_and_nothing_is_made(loop_path):
    status, rows = doctor(loop_path)
    told = {what: (row["good"], row["found"]) for what, row in rows.items()}
    assert status == 0
    assert told["loop file"] == ("yes", f"{loop_path}, a valid loop of toy")
    assert told["plugins"] == ("yes", "5, 4 of third parties; their libraries are there")
    assert told["data source"] == ("yes", "toy.v1")
    assert told["release keys"] == ("yes", "none yet: the first run makes them")
    assert told["repository"] == ("yes", "none yet: the first run makes it")
    assert told["tracker"] == ("yes", "a SQLite file in the store")
    assert told["store"][0] == "yes"
    assert [path.name for path in loop_path.parent.iterdir()] == ["loop.yaml"]


def test_a_key_that_is_gone_is_told_with_the_repository_that_needs_it(loop_path):
    loop = load_loop(loop_path)
    run_loop(loop, Store(loop.path(loop.settings.store)))
    assert doctor(loop_path)[1]["repository"]["found"] == "1 listed on stable, the newest is 1"
    key = loop.path(loop.settings.release.keys) / "stable.pem"
    key.unlink()
    status, rows = doctor(loop_path)
    assert (status, rows["release keys"]["good"]) == (8, "no")
    assert rows["release keys"]["found"].startswith(f"key file {key} must be there")
    assert rows["release keys"]["what_to_do"]


def test_a_broken_loop_file_is_a_row(loop_path):
    loop_path.write_text(loop_path.read_text() + "surprise: 1\n")
    status, rows = doctor(loop_path)
    assert (status, rows["loop file"]["good"]) == (8, "no")
    assert rows["loop file"]["found"] == "has 1 fault:"
    assert rows["loop file"]["what_to_do"] == f"`edgeloop validate {loop_path}` names each line"


def test_a_tracker_that_does_not_answer_is_told(loop_path):
    loop_path.write_text(loop_path.read_text() + "track: http://anna:secret@127.0.0.1:9\n")
    status, rows = doctor(loop_path)
    assert status == 8
    assert rows["tracker"] == {
        "what": "tracker",
        "good": "no",
        "found": "experiment tracker 127.0.0.1:9 must answer, got NewConnectionError (E702)",
        "what_to_do": "Start it, or set track: in the loop file to another",
    }
