"""A disk that is really full, not a double of one: a small file system in memory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.weather.full import prepared

from edgeloop.agent.database import Database
from edgeloop.errors import DiskFullError
from edgeloop.protocol.messages import State

SIZE = "32m"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", place]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> Path:
    """Leave no byte free; gives the file to take away again."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            return ballast


def test_a_database_on_a_full_disk_is_read_and_written_when_there_is_room(small: Path) -> None:
    schema = "CREATE TABLE IF NOT EXISTS t (a);"
    first = Database(small / "x.sqlite", schema)
    with first.writing() as to:
        to.execute("INSERT INTO t VALUES (1)")
    first.close()
    ballast = fill(small)
    again = Database(small / "x.sqlite", schema)
    assert again.rows("SELECT a FROM t") == [(1,)]
    with pytest.raises(DiskFullError), again.writing() as to:
        to.execute("INSERT INTO t VALUES (2)")
    ballast.unlink()
    with again.writing() as to:
        to.execute("INSERT INTO t VALUES (3)")
    assert again.rows("SELECT a FROM t") == [(1,), (3,)]
    again.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_device_that_starts_on_a_full_disk_answers_and_goes_on_when_there_is_room(
    small: Path, tmp_path: Path, version: int
) -> None:
    """Whether its power failed while the new slot was beside the old one, or in charge on trial."""
    with prepared(tmp_path / "made") as update:
        shutil.copytree(update.before, small / "devices")
        plane = update.life.plane
        plane.recall(update.known)
        plane.wish(update.better.ref, 2)
        with update.life.fleet(small / "devices") as fleet:
            fleet.start("d1")
            first = fleet.agents["d1"]
            fleet.until(
                lambda: (first.state, first.slot().ref.version) == (State.PROBATION, version)
            )
            ask, fleet.traffic = fleet.traffic, None
            fleet.cut_power("d1")
            ballast = fill(small)
            agent = fleet.start("d1")
            for _ in range(5):
                assert agent.answer({"image": update.better.inputs[0]}).version == 1
                fleet.step()
            ballast.unlink()
            fleet.traffic = ask
            fleet.until(lambda: agent.state is State.COMMITTED)
            assert agent.slot().ref == update.better.ref
