"""Columns become shards of fixed bytes; broken columns are named."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from edgeloop.data.merge import merge
from edgeloop.data.snapshot import SHARD_BYTES, write, write_column
from edgeloop.data.split import Stratified
from edgeloop.errors import DataError
from edgeloop.plugins import Context
from edgeloop.types import PARTS, AnswerSpec, Snapshot

ANSWER = AnswerSpec(kind="label", params={"classes": ["a", "b"]})


def made(folder: Path, rows: int = 40, **columns) -> Snapshot:
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    given = {
        "x": generator.integers(0, 256, (rows, 3), dtype=np.uint8),
        "y": np.arange(rows) % 2,
    } | columns
    return write(
        name="toy",
        inputs={"x": given["x"]},
        target=("y", given["y"]),
        answer=ANSWER,
        scratch=folder,
        provenance={},
    )


def digests(snapshot: Snapshot) -> dict[str, str]:
    return {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in snapshot.files.items()}


def test_the_same_arrays_give_the_same_bytes_and_the_same_description(tmp_path):
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    assert digests(one) == digests(other)
    assert one.to_meta() == other.to_meta()


def test_statistics_say_range_missing_values_and_rows_per_class(tmp_path):
    values = np.array([[0.5, np.nan], [1.5, 4.0]], dtype=np.float32)
    found = made(tmp_path, x=values, y=np.array([1, 1])).statistics
    assert found["x"] == {"missing": 1, "min": 0.5, "max": 4.0, "mean": 2.0, "std": 1.47196}
    assert found["y"]["classes"] == {"a": 0, "b": 2}


def test_a_column_is_cut_into_shards_of_at_most_eight_mebibytes(tmp_path):
    values = np.arange(SHARD_BYTES // 8 + 1, dtype=np.int64)
    files = write_column("v", values, tmp_path)
    assert sorted(files) == ["v-00000.npy", "v-00001.npy"]
    parts = [np.load(files[name], allow_pickle=False) for name in sorted(files)]
    assert max(part.nbytes for part in parts) <= SHARD_BYTES
    assert np.array_equal(np.concatenate(parts), values)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"x": np.zeros((0, 3)), "y": np.zeros(0, int)},
            "[E110] snapshot toy must have rows, got none",
        ),
        (
            {"x": np.zeros((7, 3))},
            "[E110] column 'x' of snapshot toy must have 40 rows as the target has, got 7",
        ),
        (
            {"x": np.ones(40, complex)},
            (
                "[E110] column 'x' of snapshot toy must hold numbers, times or texts, "
                "got dtype complex128"
            ),
        ),
        (
            {"y": np.arange(40) % 3},
            (
                "[E110] target 'y' of snapshot toy must hold whole numbers from 0 to 1, one per "
                "row, each the index of a class, got int64[40] from 0 to 2"
            ),
        ),
    ],
)
def test_a_broken_column_is_named_with_the_rule_that_it_breaks(tmp_path, columns, message):
    with pytest.raises(DataError) as caught:
        made(tmp_path, **columns)
    assert str(caught.value) == message


def test_texts_times_and_missing_values_come_back_as_they_were(tmp_path):
    texts = np.array(["Zürich", "", "[1]", "a\nb"] * 10, dtype=object)
    times = np.arange(40).astype("datetime64[s]")
    gaps = np.where(np.arange(40) % 2, np.nan, 1.5).astype(np.float32)
    snapshot = write(
        name="toy",
        inputs={"city": texts, "time": times, "x": gaps},
        target=("y", np.arange(40) % 2),
        answer=ANSWER,
        scratch=tmp_path,
        provenance={},
    )
    dtypes = {column.name: column.dtype for column in snapshot.columns}
    assert (dtypes["city"], dtypes["time"]) == ("str", "datetime64[s]")
    for name, values in {"city": texts, "time": times, "x": gaps}.items():
        np.testing.assert_array_equal(snapshot.column(name), values)
    assert snapshot.statistics["city"] == {"missing": 10, "different": 3}
    assert snapshot.statistics["time"]["last"] == "1970-01-01T00:00:39"


def split(snapshot: Snapshot, folder: Path, **params) -> Snapshot:
    folder.mkdir(exist_ok=True)
    return Stratified(**params).run(snapshot, Context(scratch=folder))


def test_a_split_gives_each_class_the_stated_share_of_each_part(tmp_path):
    rows = split(made(tmp_path, rows=200), tmp_path, test=0.2, validation=0.1)
    for label in (0, 1):
        parts = rows.column("split")[rows.column("y") == label]
        assert np.bincount(parts).tolist() == [70, 10, 20]
    assert [len(rows.column("y", part)) for part in PARTS] == [140, 20, 40]


def test_a_split_depends_on_its_seed_alone(tmp_path):
    whole = made(tmp_path, rows=200)
    one, same, other = (
        split(whole, tmp_path / str(n), seed=seed) for n, seed in enumerate((7, 7, 8))
    )
    assert digests(one) == digests(same)
    assert digests(one)["split-00000.npy"] != digests(other)["split-00000.npy"]


def test_a_class_too_small_for_three_parts_is_named(tmp_path):
    whole = made(tmp_path, rows=40, y=np.array([0] * 38 + [1] * 2))
    with pytest.raises(DataError) as caught:
        split(whole, tmp_path)
    assert str(caught.value) == (
        "[E110] value 1 of the column to split by must have a row for each of train, validation, "
        "test, got 2 rows. Add rows, or leave this value out"
    )


def test_a_split_by_a_column_that_is_not_there_lists_those_that_are(tmp_path):
    with pytest.raises(DataError) as caught:
        split(made(tmp_path), tmp_path, by="z")
    assert str(caught.value) == (
        "[E110] split by 'z' must name a column of snapshot toy. Columns: x, y"
    )


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match="nothing is left to train on"):
        Stratified(test=0.6, validation=0.4)


def fresh(rows: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    return {"x": np.full((rows, 3), 9, dtype=np.uint8)}, np.arange(rows) % 2


def test_merged_rows_follow_the_old_ones_which_keep_their_part_and_their_shards(tmp_path):
    old = split(made(tmp_path / "old"), tmp_path / "old")
    (tmp_path / "new").mkdir()
    both = merge(old, fresh(20), "field:south", tmp_path / "new", split=Stratified())
    assert both.rows == 60
    assert both.profiles == ("clean", "field:south")
    assert np.array_equal(both.column("split")[:40], old.column("split"))
    assert np.bincount(both.column("split")[40:]).tolist() == [14, 2, 4]
    assert both.column("profile").tolist() == [0] * 40 + [1] * 20
    assert np.array_equal(both.column("x")[40:], fresh(20)[0]["x"])
    assert digests(old).items() <= digests(both).items()


def test_rows_of_a_known_profile_join_it(tmp_path):
    folders = [tmp_path / name for name in ("old", "one", "two")]
    old = split(made(folders[0]), folders[0])
    for folder in folders[1:]:
        folder.mkdir()
        old = merge(old, fresh(20), "field:south", folder, split=Stratified())
    assert old.profiles == ("clean", "field:south")
    assert old.column("profile").tolist() == [0] * 40 + [1] * 40
    assert old.statistics["profile"]["rows"] == {"clean": 40, "field:south": 40}


def test_rows_of_a_class_too_rare_to_split_are_learned_from(tmp_path):
    old = split(made(tmp_path / "old"), tmp_path / "old")
    (tmp_path / "new").mkdir()
    inputs, target = fresh(21)
    target = np.where(np.arange(21) == 20, 1, 0)  # one row of one class
    both = merge(old, (inputs, target), "field:south", tmp_path / "new", split=Stratified())
    assert PARTS[both.column("split")[-1]] == "train"


def test_rows_of_which_each_is_rare_are_divided_together():
    texts = np.array([f"mail {n}" for n in range(40)], dtype=object)
    parts = Stratified(test=0.2, validation=0.1).parts(texts, rare=True)
    assert np.bincount(parts).tolist() == [28, 4, 8]


def test_rows_of_another_form_are_not_merged(tmp_path):
    old = split(made(tmp_path), tmp_path)
    rows = ({"x": np.zeros((20, 4), dtype=np.uint8)}, np.arange(20) % 2)
    with pytest.raises(DataError) as caught:
        merge(old, rows, "field:south", tmp_path, split=Stratified())
    assert str(caught.value) == (
        "[E110] rows of field:south must have the columns of snapshot toy: "
        "{'x': ('uint8', (3,)), 'y': ('int64', ())}, "
        "got {'x': ('uint8', (4,)), 'y': ('int64', ())}"
    )


def test_rows_are_not_merged_into_a_snapshot_without_a_split(tmp_path):
    with pytest.raises(DataError) as caught:
        merge(made(tmp_path), fresh(20), "field:south", tmp_path, split=Stratified())
    assert str(caught.value) == "[E110] snapshot toy must be split before rows are added"
