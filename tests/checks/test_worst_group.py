"""No group of people is left behind, whether or not the model looks at what makes the group."""

import numpy as np
import pytest

from edgeloop.checks.worst_group import WorstGroup
from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.errors import DataError
from edgeloop.plugins import Context
from edgeloop.types import AnswerSpec, Finding, Model, Verdict

ROWS = 1000


class _Says:
    """A session that says what the column ``said`` says."""

    def fresh(self):
        return self

    def run(self, inputs):
        label = inputs["said"]
        return {"label": label, "probabilities": np.eye(2, dtype=np.float32)[label]}


class _Given(Context):
    """A context in which every model says what its input tells it."""

    def session(self, model, budget=None):
        return _Says()


def found(workplace, check: WorstGroup, *, wrong: dict[str, float]) -> Finding:
    """The finding where so large a share of each group's rows is answered wrongly.

    Groups: 600 rows of "a", 300 of "b", 80 of "" and 20 of "d", of which a quarter is held out.
    """
    group = np.array(["a"] * 600 + ["b"] * 300 + [""] * 80 + ["d"] * 20, dtype=object)
    truth = np.arange(ROWS) % 2
    said = truth.copy()
    snapshot = write(
        name="groups",
        inputs={"group": group, "said": said, "size": np.ones(ROWS, dtype=np.float32)},
        target=("truth", truth),
        answer=AnswerSpec(kind="label", params={"classes": ["no", "yes"]}),
        scratch=workplace().scratch,
        provenance={},
    )
    snapshot = Stratified(by="group", test=0.5).run(snapshot, workplace())
    held = snapshot.column("split") == 2
    for name, share in wrong.items():
        rows = np.flatnonzero(held & (group == name))
        said[rows[: round(share * len(rows))]] ^= 1
    np.save(snapshot.files["said-00000.npy"], said)
    model = Model(format="said", answer=snapshot.answer, inputs=snapshot.input_specs(), files={})
    return check.run(model, _Given(scratch=workplace().scratch, snapshot=snapshot))


def test_the_worst_group_decides_and_a_small_one_is_told_and_not_judged(workplace):
    check = WorstGroup(column="group", min=0.8, max_gap=0.15)
    finding = found(workplace, check, wrong={"b": 0.2, "d": 1.0})
    assert finding.verdict is Verdict.FAIL
    assert finding.value == pytest.approx(0.8)
    assert finding.limit == ">= 0.8, gap <= 0.15"
    assert finding.reason == "worst is 'b', 0.200 behind '(missing)'"
    assert finding.evidence["groups"]["(missing)"] == {"value": 1.0, "rows": 40}
    assert finding.evidence["groups"]["d"] == {"value": 0.0, "rows": 10}
    assert finding.evidence["not_judged"] == ["d"]


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({"min": 0.85}, Verdict.FAIL),
        ({"min": 0.75}, Verdict.PASS),
        ({"max_gap": 0.15}, Verdict.FAIL),
        ({"max_gap": 0.25}, Verdict.PASS),
        ({"min": 0.75, "max_gap": 0.15}, Verdict.FAIL),
        ({}, Verdict.PASS),
    ],
)
def test_each_limit_can_stop_a_release(workplace, limits, verdict):
    finding = found(workplace, WorstGroup(column="group", **limits), wrong={"b": 0.2})
    assert finding.verdict is verdict


def test_within_a_stratum_only_its_rows_count(workplace):
    check = WorstGroup(column="group", stratum="yes", rows=10)
    finding = found(workplace, check, wrong={"a": 0.1})
    rows = {name: one["rows"] for name, one in finding.evidence["groups"].items()}
    assert sum(rows.values()) < ROWS / 2
    assert finding.value < 1


def test_one_group_alone_cannot_be_compared(workplace):
    finding = found(workplace, WorstGroup(column="group", rows=200), wrong={})
    assert finding.verdict is Verdict.NOT_MEASURED
    assert finding.reason == "fewer than two groups of group have 200 held-out rows"


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (
            {"column": "grup"},
            "[E110] worst_group.column must name a column of texts or whole numbers of snapshot "
            "groups, got grup (no such column). Columns: group, said, size, truth",
        ),
        (
            {"column": "size"},
            "[E110] worst_group.column must name a column of texts or whole numbers of snapshot "
            "groups, got size float32. Columns: group, said, size, truth",
        ),
        (
            {"column": "group", "stratum": "maybe"},
            "[E110] worst_group.stratum must be a stratum that the answer kind knows, got maybe. "
            "Known: no, yes",
        ),
    ],
)
def test_what_cannot_be_a_group_is_refused(workplace, check, text):
    with pytest.raises(DataError) as caught:
        found(workplace, WorstGroup(**check), wrong={})
    assert str(caught.value) == text
