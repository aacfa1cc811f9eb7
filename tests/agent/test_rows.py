"""Rows of a batch are read one by one, and what is broken is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeloop.agent import rows
from edgeloop.errors import BatchError
from edgeloop.types import TensorSpec

GREY = (TensorSpec(name="image", dtype="uint8", shape=(4, 4)),)
COLOUR = (TensorSpec(name="image", dtype="uint8", shape=(4, 4, 3)),)
TABLE = (
    TensorSpec(name="age", dtype="float32", shape=()),
    TensorSpec(name="job", dtype="str", shape=()),
)


def test_images_come_by_their_paths_in_order(tmp_path: Path) -> None:
    values = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for name in ("b.png", "a/z.png", "a/y.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "c.png").write_bytes(b"broken")
    found = dict(rows.read(tmp_path, GREY))
    assert list(found) == ["a/y.bmp", "a/z.png", "b.png", "c.png"]
    assert np.array_equal(found["b.png"]["image"], values)
    assert str(found["c.png"]).startswith("[E110] image c.png must be a whole PNG, JPEG or BMP")
    assert next(rows.read(tmp_path, COLOUR))[1]["image"].shape == (4, 4, 3)


def test_lines_are_rows_by_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"age": 30, "job": "baker"}\n\n[1]\n{"age": null, "job": ""}\n{"age": 3\n')
    found = dict(rows.read(path, TABLE))
    assert list(found) == ["1", "3", "4", "5"]
    assert found["1"]["age"] == 30
    assert found["4"]["age"].item() is None
    rule = "must be a JSON object of inputs, each a value or a list of equal lists"
    assert str(found["3"]) == (f"[E121] line 3 {rule}, got 'list' object has no attribute 'items'")
    assert str(found["5"]).startswith(f"[E121] line 5 {rule}, got Expecting ")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_rows_side_by_side(tmp_path: Path, save) -> None:
    age, job = np.arange(5, dtype=np.float32), np.array(["a", "b", "c", "d", "e"])
    save(tmp_path / "rows.npz", age=age, job=job, more=np.ones((5, 2, 3)))
    found = list(rows.read(tmp_path / "rows.npz", TABLE))
    assert [name for name, _ in found] == ["0", "1", "2", "3", "4"]
    assert [(row["age"].item(), row["job"].item(), row["more"].shape) for _, row in found] == [
        (place, name, (2, 3)) for place, name in enumerate("abcde")
    ]


RULE = "must hold whole arrays without objects, with one number of rows"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, f"{RULE}, got 2 in a, 3 in b"),
        ({"a": np.array([{}], dtype=object)}, f"{RULE}, got a of object[1]"),
        ({"a": np.float32(1)}, f"{RULE}, got a of float32[]"),
        ({"a": np.zeros((2, 3), order="F")}, f"{RULE}, got a of float64[2, 3] in columns"),
    ],
)
def test_arrays_that_are_no_rows_are_refused(tmp_path: Path, columns, said: str) -> None:
    np.savez(tmp_path / "rows.npz", **columns)
    with pytest.raises(BatchError) as caught:
        list(rows.read(tmp_path / "rows.npz", TABLE))
    assert str(caught.value) == f"[E825] rows rows.npz {said}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rows.csv", "must be a folder of images, a .jsonl or an .npz file, got .csv"),
        ("none.npz", "must be a folder of images, a .jsonl or an .npz file, got no such file"),
        ("empty", "must hold images, got none"),
    ],
)
def test_what_holds_no_rows_is_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "rows.csv").write_text("a,b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BatchError) as caught:
        list(rows.read(tmp_path / name, GREY))
    assert str(caught.value) == f"[E825] rows {name} {said}"


def test_a_folder_is_for_models_of_one_picture(tmp_path: Path) -> None:
    with pytest.raises(BatchError) as caught:
        list(rows.read(tmp_path, TABLE))
    assert str(caught.value) == (
        f"[E825] rows {tmp_path.name} must be a .jsonl or an .npz file, as the model takes no "
        "picture, got age float32[], job str[]"
    )
