"""No power cut breaks a device: each operation on its disk, and the legal losses of each."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.agent.every_cut import Tally, Trials, swift
from tests.agent.lives import Life

from edgeloop import durable
from edgeloop.agent import blobs, signals
from edgeloop.agent.database import Database
from edgeloop.agent.slots import Pointers, Slots
from edgeloop.testing.cuts import Crash, Cuts
from edgeloop.testing.disk import Recording

COVERED = """covered: enrolment, a first release, a good one (wait for power, download that breaks
off twice, "not now", verify, install, try, probation beside and in charge, commit, clean), a bad
one that comes as a delta and goes back, windows and samples that are sent, windows that are merged
without a network, a clean end; the good one has two graphs, and the device goes from one to the
other"""
TWICE = 50  # devices whose power fails a second time while they recover, per shard
SHARDS = 2


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with swift():
        yield Life(tmp_path)


def test_a_power_cut_at_any_operation_leaves_a_device_that_answers_and_ends_its_update(
    life: Life,
) -> None:
    recording, tally, trials = life.record(), Tally(), Trials(life, each=12)
    assert _left(recording) == _there(life.folder / "recorded"), "an operation was not seen"
    tally.count(recording)
    for crash in tally.different(Cuts(recording).some(per_cut=3)):
        tally.try_out(crash, trials)
    print(tally.table(trials), COVERED, sep="\n")
    assert tally.failed == []
    assert tally.tried > 1500


def _left(recording: Recording) -> dict[str, bytes]:
    *_, last = (crash for crash in Cuts(recording).some(per_cut=0) if crash.loss == "nothing lost")
    return {one.path: one.value[1] for one in last.disk if one.made.what == "file"}


def _there(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".sqlite"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if not p.is_symlink()}


@pytest.mark.hard
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_legal_disk_of_a_life_is_tried(life: Life, shard: int) -> None:
    recording, tally, trials = life.record(), Tally(), Trials(life)
    tally.count(recording)
    for number, crash in enumerate(tally.different(Cuts(recording, pairs=None))):
        if number % SHARDS == shard:
            tally.try_out(crash, trials)
    print(f"one cut, shard {shard + 1} of {SHARDS}", tally.table(trials), COVERED, sep="\n")
    assert tally.failed == []


@pytest.mark.hard
@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_second_power_cut_while_a_device_recovers_breaks_nothing(life: Life, shard: int) -> None:
    tally, trials = Tally(), Trials(life, each=4)
    for crash in _chosen(life, shard):
        recording = trials.recorded(crash)
        tally.count(recording)
        for again in tally.different(Cuts(recording).some(per_cut=4)):
            tally.try_out(again, trials)
    print(f"two cuts, shard {shard + 1} of {SHARDS}", tally.table(trials), COVERED, sep="\n")
    assert tally.failed == []


def _chosen(life: Life, shard: int) -> list[Crash]:
    """Disks in the middle of an update, by chance."""
    every = list(Tally().different(Cuts(life.record()).some(per_cut=2)))
    middle = [one for one in every if one.note and one.note.desired.release]
    return random.Random(shard).sample(middle, TWICE)


def _found(life: Life) -> list[str]:
    """What the harness finds first in the code as it now is."""
    tally, trials = Tally(), Trials(life, each=4)
    for crash in tally.different(Cuts(life.record()).some(per_cut=8)):
        tally.try_out(crash, trials)
        if tally.failed:
            break
    return tally.failed


def test_the_harness_sees_a_folder_that_is_not_synced(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "sync_folder", lambda _: None)
    assert _found(life)


def test_the_harness_sees_a_file_that_is_not_synced_before_its_rename(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def unsynced(path: Path, data: bytes, mode: int) -> Iterator[Path]:
        draft = path.with_name(f".{path.name}.new")
        draft.write_bytes(data)
        draft.chmod(mode)
        yield draft

    monkeypatch.setattr(durable, "_drafted", unsynced)
    assert _found(life)


def test_the_harness_sees_a_switch_that_is_no_rename(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_place(slots: Slots, pointers: Pointers) -> None:
        with slots._file.open("wb") as stream:
            stream.write(pointers.model_dump_json().encode())
            stream.flush()
            os.fsync(stream.fileno())
        durable.sync_folder(slots._file.parent)
        slots.now = pointers

    monkeypatch.setattr(Slots, "_save", in_place)
    assert _found(life)


def test_the_harness_sees_a_blob_that_is_not_synced(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs.durable, "sync_file", lambda _: None)
    assert _found(life)


def test_the_harness_sees_a_sent_window_that_is_not_known_as_sent(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    lax = lambda path, schema, **_: Database(path, schema)  # noqa: E731
    monkeypatch.setattr(signals, "Database", lax)
    assert _found(life)
