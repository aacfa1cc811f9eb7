"""A file is the old one or the new one, and a full disk is told by number."""

import errno
import os
import shutil
import sqlite3
import tempfile
from types import SimpleNamespace

import pytest

from edgeloop import durable
from edgeloop.errors import DiskFullError


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))


def raised(number: int):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_write_that_finds_no_room_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch, full):
    path = tmp_path / "state.json"
    durable.write(path, b"old")
    monkeypatch.setattr(os, "fsync", raised(errno.ENOSPC))
    with pytest.raises(DiskFullError) as caught:
        durable.write(path, b"new")
    assert str(caught.value) == (
        f"[E203] disk of {tmp_path} must have room for state.json, got 0 bytes free."
        " Free space; what was there is as it was"
    )
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.json"]  # noqa: PTH208  (hidden files count)


def test_what_a_killed_writer_left_does_not_lend_its_mode_to_a_secret(tmp_path):
    (tmp_path / ".key.new").write_bytes(b"half")
    (tmp_path / ".key.new").chmod(0o644)
    durable.write(tmp_path / "key", b"secret", mode=0o600)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key").read_bytes() == b"secret"


def test_a_new_file_is_never_put_over_another(tmp_path):
    durable.create(tmp_path / "key", b"one")
    with pytest.raises(FileExistsError):
        durable.create(tmp_path / "key", b"two")
    assert (tmp_path / "key").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["key"]  # noqa: PTH208  (hidden files count)


@pytest.mark.parametrize(
    "fault", [OSError("4000 requested and 0 written"), sqlite3.OperationalError("disk I/O error")]
)
def test_a_fault_that_does_not_say_why_is_a_full_disk_when_the_disk_is_full(tmp_path, fault, full):
    with pytest.raises(DiskFullError), durable.room(tmp_path / "x.npy"):
        raise fault


@pytest.mark.parametrize(
    "fault", [OSError("4000 requested and 0 written"), PermissionError(errno.EACCES, "denied")]
)
def test_another_fault_stays_what_it_is(tmp_path, fault):
    with pytest.raises(type(fault)) as caught, durable.room(tmp_path / "x.npy"):
        raise fault
    assert caught.value is fault


def test_a_temporary_folder_that_is_full_is_named_with_the_step(tmp_path, monkeypatch, full):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(DiskFullError) as caught, durable.scratch("step data"):
        raised(errno.ENOSPC)()
    assert str(caught.value) == (
        f"[E203] temporary folder {tmp_path} must have room for step data, got 0 bytes free."
        " Free space, or set TMPDIR to a folder with more; what was done before is kept"
    )
    assert list(tmp_path.iterdir()) == []


def test_no_temporary_folder_at_all_is_a_full_disk_too(monkeypatch):
    def none():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(DiskFullError) as caught, durable.scratch("step data"):
        pass
    assert str(caught.value) == (
        "[E203] temporary folder must have room for step data,"
        " got No usable temporary directory found."
        " Free space, or set TMPDIR to a folder with more; what was done before is kept"
    )
