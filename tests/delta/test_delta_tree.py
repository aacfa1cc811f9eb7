"""Folders come back with their files and paths, whole or not at all; no path leads out of them."""

import hashlib
import os
import random
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.delta import create as files
from edgeloop.delta import listing, tree
from edgeloop.delta.apply import apply_bytes
from edgeloop.delta.header import MOST_FILES
from edgeloop.errors import DeltaError, DiskFullError, OverrideError

FIRST = f'must begin with a line "{listing.MAGIC}"'
WEIGHTS = random.Random(0).randbytes(2000)
OLD = {"model.bin": WEIGHTS, "labels/de.txt": b"Katze\nHund\n"}
NEW = {
    "model.bin": WEIGHTS[:700] + b"!" + WEIGHTS[700:],
    "labels/\u00e9.txt": b"chat\n",
    "empty": b"",
}


def folder(at, held):
    for name, data in held.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return at


def content(at):
    return {
        path.relative_to(at).as_posix(): path.read_bytes()
        for path in at.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def sides(tmp_path):
    return folder(tmp_path / "old", OLD), folder(tmp_path / "new", NEW), tmp_path / "delta"


def refused(kind, call, *given):
    with pytest.raises(kind) as caught:
        call(*given)
    return str(caught.value)


def test_a_folder_comes_back_with_its_paths(sides, tmp_path):
    old, new, delta = sides
    tree.create(old, new, delta)
    tree.apply(old, delta, tmp_path / "made")
    assert content(tmp_path / "made") == NEW
    assert content(old) == OLD
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delta", "made", "new", "old"]


def test_files_of_the_old_folder_are_found_whatever_they_are_called_now(sides, tmp_path):
    old, new, delta = sides
    tree.create(old, new, delta)
    (old / "model.bin").rename(old / "labels" / "other")
    folder(old, {"more": b"not in the delta"})
    tree.apply(old, delta, tmp_path / "made")
    assert content(tmp_path / "made") == NEW


def test_a_file_may_become_a_folder_and_a_folder_a_file(sides, tmp_path):
    old, new, delta = sides
    tree.create(old / "model.bin", new, delta)
    tree.apply(old / "model.bin", delta, tmp_path / "made")
    tree.create(old, new / "model.bin", tmp_path / "other")
    tree.apply(old, tmp_path / "other", tmp_path / "file")
    assert content(tmp_path / "made") == NEW
    assert (tmp_path / "file").read_bytes() == NEW["model.bin"]


def test_a_file_that_begins_like_a_listing_is_a_file(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"")
    new.write_bytes(listing.written(["a"]))
    tree.create(old, new, tmp_path / "delta")
    tree.apply(old, tmp_path / "delta", tmp_path / "made")
    assert (tmp_path / "made").read_bytes() == new.read_bytes()


def test_an_old_folder_that_lacks_a_file_is_refused(sides, tmp_path):
    old, new, delta = sides
    tree.create(old, new, delta)
    (old / "model.bin").write_bytes(b"!" + WEIGHTS[1:])
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    assert refused(DeltaError, tree.apply, old, delta, tmp_path / "made") == (
        f"[E408] old file must have 2000 bytes, SHA-256 {digest[:16]}..., got none such in old. "
        "Take the whole files instead"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delta", "new", "old"]


def test_what_is_there_is_not_written_over(sides):
    old, new, delta = sides
    delta.write_bytes(b"mine")
    assert refused(OverrideError, tree.create, old, new, delta) == (
        "[E103] file delta must not be there yet. Name another with -o"
    )
    assert refused(OverrideError, tree.apply, old, delta, new) == (
        "[E103] file new must not be there yet. Name another with -o"
    )


def test_links_and_what_is_no_file_are_refused(sides):
    old, new, delta = sides
    (new / "link").symlink_to(old)
    assert refused(OverrideError, tree.create, old, new, delta) == (
        "[E103] folder new must hold plain files alone, got link"
    )
    (new / "link").unlink()
    os.mkfifo(new / "pipe")
    assert refused(OverrideError, tree.create, old, new, delta) == (
        "[E103] folder new must hold plain files alone, got pipe"
    )


def test_a_folder_without_a_file_is_refused(sides, tmp_path):
    (tmp_path / "none").mkdir()
    assert refused(OverrideError, tree.create, sides[0], tmp_path / "none", sides[2]) == (
        f"[E103] folder none must hold 1 to {MOST_FILES - 1} files, got 0"
    )


@pytest.mark.parametrize(
    "path",
    [
        "../out",
        "/out",
        "a/../../out",
        "a//b",
        "./a",
        "",
        "a\\b",
        "a\tb",
        "a\x7fb",
        "a/",
        "x" * 1025,
    ],
)
def test_a_path_that_leads_astray_is_refused_before_anything_is_there(sides, tmp_path, path):
    old, _, delta = sides
    told = f"{listing.MAGIC}\n{path}\n".encode()
    delta.write_bytes(files.create_bytes([], [told, b"bad"]).data)
    message = refused(DeltaError, tree.apply, old, delta, tmp_path / "made")
    assert message == f"[E408] listing must have plain relative paths, got {repr(path)[:80]}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delta", "new", "old"]


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_two_files_do_not_share_a_path(paths):
    assert refused(DeltaError, listing.check, paths) == (
        "[E408] listing must have a path for each file, got 'a'"
    )


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (b"", FIRST),
        (b"\xff\n\n", FIRST),
        (b"other\na\n", f"{FIRST}, got other"),
        (f"{listing.MAGIC}\na".encode(), f"{FIRST}, got {listing.MAGIC}"),
        (listing.written(["a", "b"]), "must list 1 files, got 2"),
    ],
)  # fmt: skip
def test_a_listing_that_is_none_is_refused(told, message):
    assert refused(DeltaError, listing.read, told, 1) == f"[E408] listing {message}"


@given(st.lists(st.text("ab/.\u00e9 -_", min_size=1), max_size=6))
def test_a_listing_comes_back_or_is_refused(paths):
    try:
        told = listing.written(paths)
    except DeltaError:
        return
    assert listing.read(told, len(paths)) == paths


def test_a_folder_that_was_begun_is_finished_by_the_next(sides, tmp_path):
    """What a killed process, of this delta or another, has left over is not in the way."""
    old, new, delta = sides
    tree.create(old, new, delta)
    folder(tmp_path / "made.partial", {"tree/left": b"over", "7": b"seven", "1.partial": b"?"})
    tree.apply(old, delta, tmp_path / "made")
    assert content(tmp_path / "made") == NEW
    assert not (tmp_path / "made.partial").exists()


def test_where_there_is_no_room_nothing_is_left_behind(sides, tmp_path, monkeypatch):
    old, new, delta = sides
    tree.create(old, new, delta)
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    assert "must have room for" in refused(DiskFullError, tree.apply, old, delta, tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delta", "new", "old"]


def test_two_processes_do_not_work_in_one_folder(sides, tmp_path):
    old, new, delta = sides
    tree.create(old, new, delta)
    with tree._staging(tmp_path / "made"):
        assert refused(DeltaError, tree.apply, old, delta, tmp_path / "made") == (
            "[E408] delta must be applied to made by one process at a time. "
            "Wait for the other, or end it"
        )
    tree.apply(old, delta, tmp_path / "made")


def test_the_order_of_the_files_is_that_of_their_paths(sides):
    old, new, delta = sides
    tree.create(old, new, delta)
    parts = apply_bytes([OLD["labels/de.txt"], OLD["model.bin"]], delta.read_bytes())
    assert listing.read(parts[0], 3) == sorted(NEW)
    assert parts[1:] == [NEW[path] for path in sorted(NEW)]
