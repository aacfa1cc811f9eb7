"""A batch: every row once, in order, by whichever slot is in charge."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.agent.test_agent_program import SOURCE, folder  # noqa: F401  (a fixture)
from tests.agent.test_update import SOUTH, bad, good, installed
from tests.agent.world import World, pictures

from edgeloop.agent import batch
from edgeloop.agent.states import State
from edgeloop.errors import BatchError, NoSlotError


def rows(count: int, bright: float = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, image in enumerate(pictures(9, count, bright)):
        yield str(place), {"image": image}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def never() -> threading.Event:
    return threading.Event()


def test_every_row_is_answered_in_order_logged_and_told(world: World, tmp_path: Path) -> None:
    bundle, _ = installed(world)
    before = sum(window["answers"] for window in world.plane.windows.values())
    logged = world.agent._books.journal.last_row()
    tally = batch.answer_all(world.agent, rows(50), tmp_path / "out.jsonl", never())
    assert tally == batch.Tally(rows=50, failed=0, kept=0, whole=True)
    said = lines(tmp_path / "out.jsonl")
    assert [line["row"] for line in said] == [str(place) for place in range(50)]
    assert [line["result"]["label"] for line in said] == ["left", "right"] * 25
    assert {(line["bundle"], line["version"]) for line in said} == {(bundle.digest, 1)}
    assert world.agent._books.journal.find(said[7]["answer_id"])
    assert world.agent._books.journal.last_row() == logged + 50
    told = sum(window["answers"] for window in world.plane.windows.values())
    assert told - before >= 50
    assert not (tmp_path / "out.jsonl.part").exists()


def test_a_first_release_is_installed_before_the_rows(world: World, tmp_path: Path) -> None:
    world.plane.wish(world.factory.publish(world.factory.bundle()))
    batch.settle(world.agent, 60, never())
    batch.answer_all(world.agent, rows(40), tmp_path / "out.jsonl", never())
    assert world.agent.state is State.COMMITTED
    assert world.plane.reports[-1]["outcome"]["result"] == "SUCCESSFUL"


def test_without_a_release_a_batch_ends_after_its_wait(world: World, tmp_path: Path) -> None:
    batch.settle(world.agent, 0, never())
    with pytest.raises(NoSlotError):
        batch.answer_all(world.agent, rows(1), tmp_path / "out.jsonl", never())


def test_a_slot_in_probation_sees_the_rows_and_takes_over(world: World, tmp_path: Path) -> None:
    first, _ = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.clock.sleep(10)  # the next poll is due
    batch.settle(world.agent, 60, never())
    batch.answer_all(world.agent, rows(200), tmp_path / "out.jsonl", never())
    versions = [line["version"] for line in lines(tmp_path / "out.jsonl")]
    assert versions == sorted(versions)
    assert set(versions) == {1, 2}
    assert world.plane.reports[-1]["outcome"]["result"] == "SUCCESSFUL"


def test_a_bad_slot_goes_back_and_answers_no_row(world: World, tmp_path: Path) -> None:
    first, _ = installed(world)
    world.plane.wish(world.factory.publish(bad(world, first)), rollout=2)
    world.clock.sleep(10)
    batch.settle(world.agent, 60, never())
    batch.answer_all(world.agent, rows(200, SOUTH), tmp_path / "out.jsonl", never())
    assert {line["version"] for line in lines(tmp_path / "out.jsonl")} == {1}
    assert world.agent.state is State.ROLLED_BACK


def test_a_row_that_cannot_be_answered_says_why(world: World, tmp_path: Path) -> None:
    installed(world)
    some = [("a", {"image": pictures(1, 1)[0]}), ("b", {"image": np.zeros(3)})]
    tally = batch.answer_all(world.agent, some, tmp_path / "out.jsonl", never())
    assert (tally.rows, tally.failed) == (2, 1)
    assert lines(tmp_path / "out.jsonl")[1] == {
        "row": "b",
        "error": "[E121] input 'image' must be uint8[4, 4], got float64[3]. "
        "One row at a time; values must fit the dtype",
        "number": "E121",
    }


def test_a_batch_that_was_stopped_goes_on_and_has_no_row_twice(
    world: World, tmp_path: Path
) -> None:
    installed(world)
    out, stop = tmp_path / "out.jsonl", never()

    def stopping() -> Iterator[tuple[str, dict[str, Any]]]:
        for place, row in enumerate(rows(30)):
            if place == 12:
                stop.set()
            yield row

    assert batch.answer_all(world.agent, stopping(), out, stop).whole is False
    assert not out.exists()
    part = tmp_path / "out.jsonl.part"
    part.write_bytes(part.read_bytes()[:-5])  # a kill in the middle of a line
    tally = batch.answer_all(world.agent, rows(30), out, never())
    assert tally == batch.Tally(rows=30, failed=0, kept=11, whole=True)
    assert [line["row"] for line in lines(out)] == [str(place) for place in range(30)]


@pytest.mark.parametrize(
    ("count", "got"), [(30, "1 in the place of x"), (1, "1 in the place of none")]
)
def test_a_part_of_other_rows_is_left_alone(
    world: World, tmp_path: Path, count: int, got: str
) -> None:
    installed(world)
    (tmp_path / "out.jsonl.part").write_text('{"row": "0"}\n{"row": "1"}\n')
    other = [(name if name == "0" else "x", row) for name, row in rows(count)]
    with pytest.raises(BatchError) as caught:
        batch.answer_all(world.agent, other, tmp_path / "out.jsonl", never())
    assert str(caught.value) == (
        f"[E825] file out.jsonl.part must be of the same rows, got {got}. "
        "Move it away to begin anew"
    )
    assert len((tmp_path / "out.jsonl.part").read_text().splitlines()) == 2


def test_answers_are_never_written_over(world: World, tmp_path: Path) -> None:
    installed(world)
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(BatchError) as caught:
        batch.answer_all(world.agent, rows(3), tmp_path / "out.jsonl", never())
    assert str(caught.value) == (
        "[E825] file out.jsonl must not be there yet. Move it away, or name another"
    )


def program(device: Path, data: Path, out: Path) -> list[str]:
    line = [sys.executable, "-m", "edgeloop.agent", "--log", "error", "batch"]
    return [*line, "--folder", str(device), str(data), "-o", str(out)]


def test_a_program_that_was_killed_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    data, out = tmp_path / "rows.npz", tmp_path / "out.jsonl"
    np.savez_compressed(data, image=pictures(3, 1500))
    part, environment = tmp_path / "out.jsonl.part", {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(program(folder, data, out), env=environment) as process:
        while not part.exists() or part.stat().st_size < 20_000:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    begun = len(part.read_bytes().splitlines())
    done = subprocess.run(
        program(folder, data, out), env=environment, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert (told["rows"], told["failed"], told["answers"]) == (1500, 0, str(out))
    assert begun - 1 <= told["kept"] <= begun
    assert [line["row"] for line in lines(out)] == [str(place) for place in range(1500)]


def test_a_program_whose_rows_failed_ends_with_6(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    data, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    whole = json.dumps({"image": pictures(3, 1)[0].tolist()})
    data.write_text(f'{whole}\n\n{{"image": [[1], [1, 2]]}}\n{whole}\n')
    environment = {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        program(folder, data, out), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1] == (
        "[E826] batch of rows.jsonl must be answered whole, got 1 of 3 rows that failed. "
        "Their lines in out.jsonl say why; the others are answered"
    )
    assert [line["row"] for line in lines(out)] == ["1", "3", "4"]
    assert ["error" in line for line in lines(out)] == [False, True, False]
