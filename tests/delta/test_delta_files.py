"""Deltas applied to files: what is whole, what is said when it cannot be, and what stays."""

import errno
import fcntl
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from tests.delta.half_done import EVERY, StoppedError, Update, made
from tests.delta.hand_made import entry

from edgeloop.delta import apply as applying
from edgeloop.delta import decode
from edgeloop.delta.create import create_bytes
from edgeloop.delta.plan import By, Scaling
from edgeloop.delta.scales import means
from edgeloop.errors import DeltaError, DiskFullError
from edgeloop.testing.full_disk import FullDisk

ROOM = "Free space; the old files are as they were"


@pytest.fixture
def update(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "EVERY", EVERY)
    for name in ("source", "folder"):
        (tmp_path / name).mkdir()
    return Update.begun(tmp_path / "source", tmp_path / "folder")


def stopped(update, pieces):
    with pytest.raises(StoppedError):
        update.apply(pieces)


def test_an_old_file_that_was_changed_is_told_and_nothing_stays(update):
    path = update.source / "a.old"
    data = bytearray(path.read_bytes())
    told = decode.hashlib.sha256(data).hexdigest()[:16]
    data[-1] ^= 1
    path.write_bytes(data)
    found = decode.hashlib.sha256(data).hexdigest()[:16]
    with pytest.raises(DeltaError) as fault:
        update.apply()
    assert str(fault.value) == (
        f"[E408] old file must have {len(data)} bytes, SHA-256 {told}..., "
        f"got {len(data)} bytes, {found}. Take the whole files instead"
    )
    assert update.there() == {}


def test_an_update_that_does_not_fit_is_not_begun(update, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DiskFullError) as fault:
        update.apply()
    assert str(fault.value) == (
        f"[E203] disk of {update.folder} must have room for {update.size + applying.SPARE} bytes, "
        f"got 1000 bytes free. {ROOM}"
    )
    assert update.there() == {}


def test_what_is_half_done_needs_no_room_a_second_time(update, monkeypatch):
    stopped(update, 7)
    held = sum(512 * (update.folder / f"{name}.partial").stat().st_blocks for name in "ab")
    assert held
    free = max(0, update.size - held) + applying.SPARE
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    update.apply()
    assert update.whole()


def test_a_disk_that_is_full_on_the_way_is_told_and_nothing_stays(update, monkeypatch):
    sync = os.fsync
    left = [3]

    def full(handle):
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    usage = SimpleNamespace(free=1 << 40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError) as fault:
        update.apply()
    assert str(fault.value) == (
        f"[E203] disk of {update.folder} must have room for a.partial, got {1 << 40} bytes free. "
        f"{ROOM}"
    )
    assert update.there() == {}


def test_a_disk_that_is_full_at_any_operation_leaves_room_behind(update):
    number = done = 0
    while not done:
        disk = FullDisk(update.folder, lambda at, number=number: at >= number)
        with disk.watching():
            try:
                update.apply()
            except DiskFullError:
                assert set(update.there()) <= {"a", "b"}
        done = not disk.failed
        number += 3
    assert number > 20
    assert update.whole()


def test_an_update_that_was_stopped_goes_on_from_its_notes(update):
    stopped(update, 7)
    assert {"a.partial", "b.partial", "a.progress"} <= set(update.there())
    assert update.apply() < update.size / 2
    assert update.whole()


def test_a_file_of_someone_else_beside_the_new_one_stays(update):
    (update.folder / "a.new").write_bytes(b"mine")
    update.apply()
    assert update.there().pop("a.new") == b"mine"


@pytest.mark.parametrize("place", range(0, 4000, 97))
def test_notes_that_are_broken_are_not_gone_on_from(update, place):
    stopped(update, 7)
    notes = update.folder / "a.progress"
    data = bytearray(notes.read_bytes())
    data[place * len(data) // 4000] ^= 0x55
    notes.write_bytes(data if place % 2 else data[: place * len(data) // 4000])
    update.apply()
    assert update.whole()


def test_notes_of_another_version_are_not_gone_on_from(update, monkeypatch):
    stopped(update, 7)
    monkeypatch.setattr(applying, "VERSION", "another")
    assert update.apply() == update.size
    assert update.whole()


def test_notes_of_another_delta_are_not_gone_on_from(update):
    stopped(update, 7)
    olds, news, _ = made()
    other = create_bytes(olds, [news[0], b"a third card"])
    (update.source / "delta").write_bytes(other.data)
    assert update.apply() == update.size - len(b"another card") + len(b"a third card")
    assert update.there() == {"a": news[0], "b": b"a third card"}


@pytest.mark.parametrize("lost", ["a.partial", "b.partial"])
@pytest.mark.parametrize("gone", [True, False])
def test_what_is_half_done_and_not_what_its_notes_say_is_begun_anew(update, lost, gone):
    stopped(update, 7)
    path = update.folder / lost
    if gone:
        path.unlink()
    else:
        path.write_bytes(bytes(path.stat().st_size))
    assert update.apply() > update.size
    assert update.whole()


def test_a_delta_that_shrinks_while_it_is_applied_is_refused(update):
    path = update.source / "delta"
    with path.open("rb", buffering=0) as file:
        fetch = applying._fetch(file)
        size = path.stat().st_size
        os.truncate(path, size - 1)
        with pytest.raises(DeltaError) as fault:
            fetch(size - 9, 9)
    assert str(fault.value) == "[E408] delta must stay as long as it was. Fetch it again"


def test_one_that_was_late_does_not_write_into_what_the_other_has_made(update, monkeypatch):
    real = fcntl.flock

    def late(file, how):
        (update.folder / "a.partial").replace(update.folder / "a")  # the other is ready just now
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(DeltaError) as fault:
        update.apply()
    assert str(fault.value) == (
        "[E408] delta must be applied to a.partial by one process at a time. "
        "Wait for the other, or end it"
    )
    assert update.there() == {"a": b""}


def test_scales_are_read_for_the_lines_of_an_entry_alone():
    told = np.arange(5, dtype="<f4") + 1
    read = []

    def data(at, count):
        read.append(count)
        return told.tobytes()[at : at + count]

    for first, lines, expected in (
        (0, 2, [1, 2]),
        (4, 3, [5, 1, 2]),
        (3, 7, [4, 5, 1, 2, 3, 4, 5]),
    ):
        read.clear()
        scaling = Scaling(by=By.ROW, old=0, new=0, count=5, first=first)
        found = means(entry(rows=lines, scaling=scaling), data, data)(slice(0, lines))
        assert found.old.scale.ravel().tolist() == expected
        assert sum(read) == 2 * 4 * min(lines, 5)
