"""The recording disk misses nothing, and a power cut leaves what POSIX and SQLite allow."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edgeloop import durable
from edgeloop.agent.database import Database
from edgeloop.testing.cuts import Cuts, rebuild
from edgeloop.testing.disk import Recorder


def disks(tmp_path: Path, work: Callable[[Path], object]) -> list[dict[str, bytes]]:
    """What may be there after ``work`` and a power cut: path -> content; the last is all of it."""
    place = tmp_path / "recorded"
    place.mkdir()
    recorder = Recorder(place)
    with recorder.watching() as recording:
        work(place)
        recorder.note("done")
    found = []
    for number, crash in enumerate(c for c in Cuts(recording) if c.note == "done"):
        made = tmp_path / f"disk-{number}"
        made.mkdir()
        rebuild(crash.disk, made)
        found.append(content(made))
    return [*found[1:], found[0]]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): _bytes(p) for p in sorted(folder.rglob("*"))}


def _bytes(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    return b"folder" if path.is_dir() else path.read_bytes()


def many_ways(folder: Path) -> None:
    """Whatever Python code writes with."""
    (folder / "a").mkdir()
    (folder / "a" / "text").write_text("one\ntwo\n")
    shutil.copytree(folder / "a", folder / "b")
    shutil.rmtree(folder / "a")
    with (folder / "b" / "text").open("r+b") as stream:
        stream.seek(2)
        stream.write(b"XY")
        stream.truncate(6)
    with (folder / "b" / "text").open("a") as stream:
        stream.write("!")
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as stream:
        stream.write(b"temporary")
    Path(stream.name).replace(folder / "b" / "moved")
    handle = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(handle, b"12345")
    os.ftruncate(handle, 3)
    os.close(handle)
    (folder / "again").hardlink_to(folder / "plain")
    (folder / "link").symlink_to("b/moved")
    (folder / "plain").write_bytes(b"seen through both names")


def test_what_was_recorded_is_what_is_there(tmp_path: Path) -> None:
    whole = disks(tmp_path, many_ways)[-1]
    assert whole == content(tmp_path / "recorded")
    assert whole["again"] == b"seen through both names"


def test_a_file_elsewhere_is_not_taken_for_one_that_is_gone(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        (folder / "gone").write_bytes(b"x")
        (folder / "gone").unlink()
        durable.write(tmp_path / "elsewhere", b"y")  # a disk gives it the same inode, as a rule

    place = tmp_path / "recorded"
    place.mkdir()
    with Recorder(place).watching() as recording:
        work(place)
    assert [one.kind for one in recording.operations] == ["name", "write", "unname"]


def replaced(folder: Path) -> None:
    """A file as people replace it who do not know of fsync."""
    (folder / "new").write_bytes(b"new content")
    (folder / "new").replace(folder / "file")


def test_a_file_that_was_not_synced_may_be_empty_torn_or_zeros_behind_its_rename(
    tmp_path: Path,
) -> None:
    found = [disk.get("file") for disk in disks(tmp_path, replaced)]
    assert set(found) == {None, b"", b"new c", bytes(11), b"new content"}


def test_a_durable_write_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    with Recorder(tmp_path).watching() as recording:
        durable.write(tmp_path / "file", b"old")
        durable.write(tmp_path / "file", b"new")
    found = set()
    for crash in Cuts(recording):
        found |= {entry.value[1] for entry in crash.disk if entry.path == "file"}
    assert found == {b"old", b"new"}


def test_a_folder_that_is_made_lasts_with_its_parents(tmp_path: Path) -> None:
    found = disks(tmp_path, lambda folder: durable.make_folder(folder / "a" / "b"))
    assert found == [{"a": b"folder", "a/b": b"folder"}] * len(found)


def test_a_file_on_its_way_to_another_folder_has_a_name_in_one_of_them(tmp_path: Path) -> None:
    def moved(folder: Path) -> None:
        for name in ("from", "to"):
            durable.make_folder(folder / name)
        durable.write(folder / "from" / "file", b"x")
        (folder / "from" / "file").replace(folder / "to" / "file")

    names = [set(disk) & {"from/file", "to/file"} for disk in disks(tmp_path, moved)]
    assert {frozenset(one) for one in names} == {
        frozenset({"from/file"}),
        frozenset({"to/file"}),
        frozenset({"from/file", "to/file"}),
    }


@pytest.mark.parametrize(("lasting", "left"), [(False, {0, 1, 2, 3}), (True, {3})])
def test_a_database_loses_its_newest_transactions_unless_it_is_lasting(
    tmp_path: Path, lasting: bool, left: set[int]
) -> None:
    kept: list[Database] = []

    def write(folder: Path) -> None:
        kept.append(Database(folder / "x.sqlite", "CREATE TABLE t (a);", lasting=lasting))
        for number in range(3):
            with kept[0].writing() as to:
                to.execute("INSERT INTO t VALUES (?)", (number,))

    disks(tmp_path, write)
    kept[0].close()
    rows = {_rows(path) for path in tmp_path.glob("disk-*/x.sqlite")}
    assert rows == left


def _rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT count(*) FROM t").fetchone()[0])
