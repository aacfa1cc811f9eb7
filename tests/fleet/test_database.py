"""A database that cannot be used is left as it is, and the error says what to do."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_bench import Bench
from sqlalchemy import select

from edgeloop.errors import DatabaseError, EdgeloopError, OverrideError, UnreachableError
from edgeloop.fleet import process
from edgeloop.fleet.database import Database
from edgeloop.fleet.models import OperatorRow
from edgeloop.fleet.settings import Settings


def of_the_future(path: Path) -> None:
    """A whole database, which says that a later edgeloop migrated it."""
    Database(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")


def newest() -> str:
    from edgeloop.fleet import migrations

    (folder,) = migrations.__path__
    return max(path.stem[1:5] for path in Path(folder, "versions").glob("r*.py"))


def test_a_database_by_a_newer_edgeloop_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    of_the_future(path)
    before = path.read_bytes()
    with pytest.raises(DatabaseError) as caught:
        Database(f"sqlite:///{path}")
    assert str(caught.value) == (
        f"[E607] database {path} must have a schema up to {newest()}, the newest known here, "
        "got 0999. Start the edgeloop that wrote it, or a newer one; nothing was changed"
    )
    assert path.read_bytes() == before


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(DatabaseError) as caught:
        Database(f"sqlite:///{path}")
    assert str(caught.value) == (
        f"[E607] database {path} must be whole, got file is not a database. "
        "Put a copy in its place, or move it away and enrol the devices again"
    )


def test_a_database_that_does_not_open_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "fleet.db"
    with pytest.raises(UnreachableError) as caught:
        Database(f"sqlite:///{path}")
    assert str(caught.value) == (
        f"[E601] database {path} must open, got unable to open database file. "
        "Is its server running, and may this user open it?"
    )


@pytest.mark.parametrize(
    ("url", "got"), [("a database", ""), ("mysql://host/fleet", ", got mysql"), ("", "")]
)
def test_another_kind_of_database_is_refused(url: str, got: str) -> None:
    with pytest.raises(OverrideError) as caught:
        Database(url)
    assert str(caught.value) == (
        f"[E103] --database must be a URL that begins with sqlite: or postgresql+psycopg:{got}"
    )


def test_one_writer_at_a_time_reads_and_decides(bench: Bench) -> None:
    database = bench.app.state.plane.database

    def count(_turn: int) -> None:
        with database.begin() as session:
            row = session.scalars(select(OperatorRow)).one()
            row.created += 1

    before = bench.clock.now()
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(count, range(40)))
    with database.read() as session:
        assert session.scalars(select(OperatorRow.created)).one() == before + 40


def settings(folder: Path) -> Settings:
    return Settings(folder=folder, repository=folder / "repository", layout=folder / "layout")


def test_an_error_that_ends_the_new_process_comes_back_as_itself(tmp_path: Path) -> None:
    of_the_future(tmp_path / "fleet.db")
    with pytest.raises(EdgeloopError) as caught:
        process.start(settings(tmp_path))
    assert type(caught.value) is DatabaseError
    assert str(caught.value).endswith(
        "Start the edgeloop that wrote it, or a newer one; nothing was changed"
    )
    assert not (tmp_path / "fleet.json").exists()


def test_a_databases_password_is_on_no_command_line_and_in_no_error(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/fleet"
    there = settings(tmp_path)
    assert "secret" not in " ".join(process.command(replace(there, database=url)))
    with pytest.raises(UnreachableError) as caught:
        process.start(replace(there, database=url))
    assert str(caught.value).startswith(
        "[E601] database postgresql+psycopg://me:***@127.0.0.1:1/fleet must open, got connection"
    )


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OverrideError) as caught:
        process.start(settings(path))
    assert str(caught.value) == (
        f"[E103] --folder {path} must be a folder that can be written, got File exists"
    )
