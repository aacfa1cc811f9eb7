"""The reference runtime keeps the contract, and tells files that do not belong together."""

import dataclasses

import numpy as np
import pytest

from edgeloop.errors import ModelError
from edgeloop.recipes.gradient_boosting import GradientBoosting
from edgeloop.release.build import BuildBundle
from edgeloop.runtimes.encoding import Column, Encoding

TODO = "Build the model again; `edgeloop verify` tells which blobs are broken"


def loaded(model, workplace) -> str:
    with pytest.raises(ModelError) as caught:
        workplace().session(model)
    return str(caught.value)


def with_file(model, name, content, folder):
    (folder / name).write_bytes(content)
    return dataclasses.replace(model, files={**model.files, name: folder / name})


@pytest.mark.parametrize(("gaps", "missing"), [(True, np.nan), (False, 0.5)])
def test_a_missing_text_is_nan_where_training_saw_some_and_else_one_that_was_never_seen(
    gaps, missing
):
    codes = Column(name="town", codes={"Bonn": 0.25}, unseen=0.5, gaps=gaps)
    table = Encoding(columns=(codes, Column(name="age"))).table(
        {
            "town": np.array(["Bonn", "", "Zell"], dtype=object),
            "age": np.array([3, np.nan, 5], dtype=np.float32),
        }
    )
    assert table.dtype == np.float32
    want = np.array([[0.25, 3], [missing, np.nan], [0.5, 5]])
    assert np.array_equal(table, want, equal_nan=True)


def test_trees_that_are_cut_short_are_refused(trees, workplace, tmp_path):
    whole = trees.files["model.txt"].read_bytes()
    cut = with_file(trees, "model.txt", whole[: len(whole) - 300], tmp_path)
    assert loaded(cut, workplace) == (
        "[E120] model file model.txt must be whole trees of LightGBM that belong to their "
        f"encoding, got a file that is cut short. {TODO}"
    )


def test_an_encoding_of_other_columns_is_refused(trees, towns, workplace, tmp_path):
    other = GradientBoosting(trees=1).build(towns, workplace(snapshot=towns))
    mixed = with_file(trees, "encoding.json", other.files["encoding.json"].read_bytes(), tmp_path)
    assert loaded(mixed, workplace) == (
        "[E120] model file model.txt must be whole trees of LightGBM that belong to their "
        f"encoding, got 5 columns, and 6 in encoding.json. {TODO}"
    )


def test_an_encoding_that_is_missing_is_refused(trees, workplace):
    files = {"model.txt": trees.files["model.txt"]}
    assert loaded(dataclasses.replace(trees, files=files), workplace) == (
        "[E120] model file encoding.json must say how each column becomes numbers, "
        f"got [Errno 2] No such file or directory: 'encoding.json'. {TODO}"
    )


def test_devices_are_never_given_lightgbms_own_form(trees, towns, workplace):
    with pytest.raises(ModelError, match=r"^\[E120\] model of form 'lightgbm' must be in a form"):
        BuildBundle(name="towns").run(trees, workplace(snapshot=towns))
