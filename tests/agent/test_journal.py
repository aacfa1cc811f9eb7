"""The device's own log of answers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgeloop.agent.journal import TRIMMED_EACH, Entry, Journal
from edgeloop.errors import AgentFolderError


def entry(number: int) -> Entry:
    return Entry(id=f"a{number}", time=float(number), bundle="b", version=1, result={"label": "x"})


def test_an_answer_is_found_with_its_bundle(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.add(entry(1))
    assert Journal(tmp_path / "journal.sqlite").find("a1") == entry(1)
    assert journal.find("a2") is None


def test_what_a_person_said_first_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.add(entry(1))
    assert journal.confirm("a1", "7") is True
    assert journal.confirm("a1", "8") is False
    found = journal.find("a1")
    assert found is not None
    assert found.truth == "7"


def test_only_the_newest_answers_stay_and_the_count_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", most_rows=10)
    for number in range(1, TRIMMED_EACH + 1):
        journal.add(entry(number))
    kept = [n for n in range(1, TRIMMED_EACH + 1) if journal.find(f"a{n}")]
    assert kept == list(range(TRIMMED_EACH - 9, TRIMMED_EACH + 1))
    assert journal.last_row() == TRIMMED_EACH


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(AgentFolderError) as caught:
        Journal(path)
    assert str(caught.value) == (
        f"[E504] file {path} must be a SQLite database, got file is not a database. Move it away"
    )


def test_a_log_that_an_older_agent_began_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).add(entry(1))
    with sqlite3.connect(path) as older:
        older.execute("ALTER TABLE answers DROP COLUMN variant")
    journal = Journal(path)
    journal.add(Entry(id="a2", time=2.0, bundle="b", version=1, result={}, variant="int8"))
    assert [one and one.variant for one in map(journal.find, ("a1", "a2"))] == ["main", "int8"]
