"""The study: steps are shared, intervals are right, and what was not measured is told."""

import importlib
import json
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from tests.toy import PLUGINS
from typer.testing import CliRunner

from edgeloop.cli.main import app
from edgeloop.errors import StudyFileError
from edgeloop.loop.file import load_loop
from edgeloop.loop.lineage import trace
from edgeloop.loop.runner import run_loop
from edgeloop.loop.study import run_study
from edgeloop.loop.study_file import load_study
from edgeloop.loop.study_report import render
from edgeloop.loop.study_statistics import student
from edgeloop.store.artifacts import Store

GIVEN = '''
    """A check whose value for each seed is given, so that a test knows the intervals."""
    from pydantic.dataclasses import dataclass
    from edgeloop.plugins import register
    from edgeloop.types import Finding, Verdict

    @register("check", "toy_given.v1")
    @dataclass(frozen=True, kw_only=True)
    class ToyGiven:
        values: dict[int, float] | None = None

        def run(self, model, context):
            value = (self.values or {}).get(context.seed)
            if value is None:
                return Finding(
                    check="toy_given", verdict=Verdict.NOT_MEASURED, reason="nothing is given"
                )
            return Finding(check="toy_given", verdict=Verdict.FAIL, value=value)
'''
STUDY = """\
study: rounding
question: What does rounding cost?
loops:
  toy: {file: loop.yaml}
seeds: [1, 2, 3]
arms:
  fine: {}
  coarse: {passes.0.toy_round.digits: 1}
measure: accuracy
baseline: fine
"""
SHARED = {"data": 3, "split": 3, "recipe": 3}  # once a seed, whatever the arms


@pytest.fixture
def study_path(toys: Path, loop_path: Path) -> Path:
    """A study file beside the toy loop, which has two checks more."""
    (toys / "toy_given.py").write_text(textwrap.dedent(GIVEN).strip() + "\n")
    importlib.import_module("toy_given")
    loop_path.write_text(loop_path.read_text() + "  accuracy: {min: 0.9}\n  toy_given: {}\n")
    path = loop_path.parent / "study.yaml"
    path.write_text(STUDY)
    return path


def run(path: Path):
    study = load_study(path)
    return run_study(study, Store(study.store))


def given(path: Path, fine: dict[int, float], coarse: dict[int, float]):
    """The only comparison of a study whose values are given by seed."""
    text = path.read_text().replace("measure: accuracy", "measure: toy_given")
    text = text.replace("fine: {}", f"fine: {{checks.toy_given.values: {fine}}}")
    text = text.replace("coarse: {", f"coarse: {{checks.toy_given.values: {coarse}, ")
    path.write_text(text)
    result = run(path).result
    (comparison,) = result.comparisons
    return result, comparison


def test_arms_share_what_they_have_in_common_and_a_second_run_executes_nothing(study_path):
    first, second = run(study_path), run(study_path)
    executed = Counter(step.name for step in first.steps if step.executed)
    assert executed == SHARED | {"toy_round": 6, "accuracy": 6, "accuracy_drop": 3}
    assert (second.executed, second.artifact) == (0, first.artifact)


def test_a_study_takes_the_steps_that_a_run_of_its_loop_has_made(study_path):
    loop = load_loop(study_path.parent / "loop.yaml", ["seed=2", "checks={accuracy: {min: 0.9}}"])
    run_loop(loop, Store(study_path.parent / ".edgeloop"))
    executed = Counter(step.name for step in run(study_path).steps if step.executed)
    assert executed == {"data": 2, "split": 2, "recipe": 2} | {
        "toy_round": 5,
        "accuracy": 5,
        "accuracy_drop": 3,
    }


def test_no_gate_stops_a_study_and_nothing_is_released(study_path):
    study_path.write_text(study_path.read_text().replace("coarse: {", "coarse: {recipe.sign: -1, "))
    made = run(study_path)
    assert [arm.mean for arm in made.result.arms] == [1.0, 0.0]
    assert not (study_path.parent / "repository").exists()
    assert Store(study_path.parent / ".edgeloop").artifacts("bundle") == []


def test_the_interval_over_seeds_is_students_of_the_paired_differences(study_path):
    fine, coarse = {1: 0.5, 2: 0.6, 3: 0.9}, {1: 0.51, 2: 0.62, 3: 0.93}
    result, told = given(study_path, fine, coarse)
    # differences 0.01, 0.02, 0.03: deviation 0.01, and t of 2 degrees is 4.302653
    assert told.mean == pytest.approx(0.02)
    assert told.over_seeds == pytest.approx((-0.0048414, 0.0448414), abs=1e-7)
    assert (told.verdict, told.reason) == (
        "no difference shown",
        "the interval over seeds holds 0",
    )
    assert [(arm.arm, arm.seeds) for arm in result.arms] == [("fine", 3), ("coarse", 3)]
    assert result.arms[0].deviation == pytest.approx(0.2081666)


def test_an_arm_whose_interval_leaves_out_0_differs(study_path):
    _, told = given(study_path, {1: 0.5, 2: 0.6, 3: 0.9}, {1: 0.52, 2: 0.621, 3: 0.922})
    assert (told.verdict, told.over_rows) == ("differs", None)
    assert told.reason == "the interval over seeds leaves out 0"


def test_the_interval_over_rows_is_that_of_the_same_rows_in_both_arms(study_path):
    study_path.write_text(study_path.read_text().replace("coarse: {", "coarse: {recipe.sign: -1, "))
    (told,) = run(study_path).result.comparisons
    assert (told.mean, told.over_seeds) == (-1.0, None)  # a toy learns nothing from its seed
    assert told.over_rows == pytest.approx((-1.0, -0.9516), abs=1e-4)  # of 120 rows, all wrong
    assert (told.verdict, told.reason) == ("differs", "the interval over rows leaves out 0")


def test_what_was_not_measured_is_told_and_left_out_of_means_and_pairs(study_path):
    result, told = given(study_path, {1: 0.5, 3: 0.9}, {1: 0.52, 2: 0.9, 3: 0.93})
    (lacking,) = result.not_measured
    assert (lacking.arm, lacking.seed, lacking.reason) == ("fine", 2, "nothing is given")
    assert [(arm.arm, arm.seeds) for arm in result.arms] == [("fine", 2), ("coarse", 3)]
    assert set(told.differences) == {"1", "3"}
    assert told.mean == pytest.approx(0.025)


def test_one_pair_is_no_repetition_and_gives_no_verdict(study_path):
    _, told = given(study_path, {1: 0.5}, {1: 0.9, 2: 0.9})
    assert (told.verdict, told.over_seeds) == ("not measured", None)
    assert told.reason == "fewer than 2 seeds have a value in both arms"


def test_the_same_difference_under_every_seed_has_no_spread_to_judge_by(study_path):
    _, told = given(study_path, {1: 0.5, 2: 0.5}, {1: 0.75, 2: 0.75})
    assert (told.verdict, told.mean, told.over_seeds) == ("not measured", 0.25, None)


def test_a_study_is_a_root_that_keeps_and_tells_what_it_is_made_of(study_path):
    made = run(study_path)
    store = Store(study_path.parent / ".edgeloop")
    store.collect()
    assert run(study_path).executed == 0
    kept = store.open("rounding-study")
    assert (kept.kind, kept.digest) == ("study", made.artifact.digest)
    assert kept.meta["comparisons"][0]["verdict"] == "no difference shown"
    told = trace(store, made.artifact.digest)
    assert Counter(check["check"] for check in told["checks"]) == {
        "accuracy": 6,
        "accuracy_drop": 3,
    }
    assert told["steps"][-1]["plugin"] == "study/study.v1"


RUN = """
import sys, importlib
from pathlib import Path
for name in {modules!r}:
    importlib.import_module(name)
from edgeloop.loop.study import run_study
from edgeloop.loop.study_file import load_study
from edgeloop.loop.study_report import render
from edgeloop.loop.study_statistics import student
from edgeloop.store.artifacts import Store
study = load_study(Path(sys.argv[1]))
made = run_study(study, Store(study.store), on_step=lambda s: print(s.executed, flush=True))
print(made.artifact.digest, flush=True)
"""


def test_a_killed_study_carries_on_and_ends_with_the_same_digest(study_path, toys, tmp_path):
    whole = run(study_path)
    other = tmp_path / "killed"
    other.mkdir()
    for name in ("loop.yaml", "study.yaml"):
        (other / name).write_bytes((study_path.parent / name).read_bytes())
    code = RUN.format(modules=[*PLUGINS, "toy_given"])
    line = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(toys)!r}){code}"]
    process = subprocess.Popen(
        [*line, str(other / "study.yaml")], stdout=subprocess.PIPE, text=True
    )
    done = [process.stdout.readline() for _ in range(9)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = run(other / "study.yaml")
    assert again.executed <= whole.executed - done.count("True\n")
    assert again.artifact.digest == whole.artifact.digest


def test_every_fault_of_a_study_and_of_its_loops_is_told_at_once(study_path):
    study_path.write_text(
        "study: rounding\n"
        "question: What does rounding cost?\n"
        "loops:\n"
        "  toy: {file: loop.yaml}\n"
        "  gone: {file: no.yaml}\n"
        "  heavy: {file: loop.yaml, override: {recipe.sign: heavy}}\n"
        "seeds: [1, 1]\n"
        "arms:\n"
        "  fine: {}\n"
        "  coarse:\n"
        "    passes.0.toy_round.digits: few\n"
        "  unchecked: {checks: {}}\n"
        "  lost: {passes.7.x: 1}\n"
        "measure: accuracy\n"
        "baseline: float\n"
        "surprise: 1\n"
    )
    with pytest.raises(StudyFileError) as raised:
        load_study(study_path)
    assert str(raised.value).splitlines() == [
        f"[E821] {study_path} has 8 faults:",
        "  line 5: loops.gone.file must be a file that can be read, got 'No such file or"
        " directory'",
        "  line 6: loops.heavy.override.recipe.sign must fit loop heavy: recipe.sign must be a"
        " valid number, unable to parse string as a number, got 'heavy'",
        "  line 7: seeds must name each seed once, got [1, 1]",
        "  line 11: arms.coarse.passes.0.toy_round.digits must fit loop toy:"
        " passes.0.toy_round.digits must be a valid integer, unable to parse string as an integer,"
        " got 'few'",
        "  line 13: arms.lost must fit loop toy: override 'passes.7.x=1' must name a field of a"
        " section, got '7'",
        "  line 14: measure must be a check of loop toy in arm unchecked: one of none, got"
        " 'accuracy'",
        "  line 15: baseline must be one of the arms: fine, coarse, unchecked, lost, got 'float'",
        "  line 16: surprise must be a known field, got 1",
    ]
    assert raised.value.faults[2] == {
        "line": 7,
        "field": "seeds",
        "rule": "must name each seed once",
        "value": [1, 1],
    }


def test_a_study_that_is_not_there_says_where_to_read_of_one(tmp_path):
    with pytest.raises(StudyFileError) as raised:
        load_study(tmp_path / "study.yaml")
    assert str(raised.value) == (
        f"[E821] {tmp_path}/study.yaml must be a file that can be read, got No such file or"
        " directory. See docs/how-to/study.md"
    )


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706205), (2, 4.302653), (3, 3.182446), (4, 2.776445), (9, 2.262157), (100, 1.983972)],
)
def test_students_quantile_is_that_of_the_tables(freedom, quantile):
    assert student(freedom) == pytest.approx(quantile, abs=1e-6)


def test_the_command_prints_the_result_and_writes_a_page_that_asks_the_network_for_nothing(
    study_path,
):
    report = study_path.parent / "report.html"
    line = ["study", str(study_path), "--report", str(report), "--format", "json"]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["study"], told["baseline"]) == (0, "rounding", "fine")
    page = report.read_text()
    assert page.count("<svg") == 2
    assert "toy, coarse against fine: no difference shown." in page
    assert "Every value was measured." in page
    assert not re.search(r"https?://", page)
    assert told["artifact"][7:19] in page


def test_the_page_draws_an_arm_without_a_value_and_lists_why(study_path):
    result, told = given(study_path, {1: 0.5}, {})
    page = render(result, f"sha256:{'0' * 64}")
    assert told.mean is None
    assert (
        "toy, coarse against fine: not measured (fewer than 2 seeds have a value in both arms)."
        in page
    )
    assert page.count("nothing is given") == 5
