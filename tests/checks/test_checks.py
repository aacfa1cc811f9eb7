"""Each check measures what it says, and says so when it could not."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgeloop.checks.accuracy import Accuracy
from edgeloop.checks.accuracy_drop import AccuracyDrop
from edgeloop.checks.disagreement import Disagreement
from edgeloop.checks.golden_parity import GoldenParity
from edgeloop.checks.latency_p95 import LatencyP95
from edgeloop.checks.size import Size
from edgeloop.checks.worst_class import WorstClass
from edgeloop.passes.prune_channels import PruneChannels
from edgeloop.plugins import get, names
from edgeloop.types import AnswerSpec, Finding, Verdict

EVERY = (
    Accuracy(),
    AccuracyDrop(),
    WorstClass(),
    Size(),
    LatencyP95(runs=100),
    GoldenParity(),
    Disagreement(),
)


@pytest.fixture
def bench(snapshot, torch_model, onnx_model, workplace):
    def new(**given):
        return workplace(
            **{
                "snapshot": snapshot,
                "reference": torch_model,
                "current": onnx_model,
                **given,
            }
        )

    return new


def mislabelled(snapshot, workplace, wrong: dict[int, int]):
    """The snapshot with so many test rows of each class said to be of the next class."""
    labels = snapshot.column("label").copy()
    test = snapshot.column("split") == 2
    for label, count in wrong.items():
        rows = np.flatnonzero(test & (snapshot.column("label") == label))[:count]
        labels[rows] = (label + 1) % 3
    path = workplace().scratch / "label-00000.npy"
    np.save(path, labels)
    return dataclasses.replace(snapshot, files={**snapshot.files, path.name: path})


def without_test_rows(snapshot, workplace):
    path = workplace().scratch / "split-00000.npy"
    np.save(path, np.zeros(snapshot.rows, dtype=np.uint8))
    return dataclasses.replace(snapshot, files={**snapshot.files, path.name: path})


def _ours(check: type) -> bool:
    """Another room's toys are registered too when both run in one process."""
    return check.__module__.startswith("edgeloop.")


def test_every_check_is_tested_in_this_folder():
    told = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    ours = [one for one in map(partial(get, "check"), names("check")) if _ours(one)]
    assert [one.__name__ for one in ours if one.__name__ not in told] == []


@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.plugin_name)
def test_without_a_limit_a_check_measures_and_passes(check, bench, int8_model):
    finding = check.run(int8_model, bench())
    assert finding.check == check.plugin_name.removesuffix(".v1")
    assert finding.verdict is Verdict.PASS
    assert finding.value is not None
    meta = json.loads(json.dumps(finding.to_meta(), allow_nan=False))
    assert Finding.from_meta(meta).to_meta() == finding.to_meta()


@pytest.mark.parametrize(
    "check", [c for c in EVERY if not isinstance(c, Size)], ids=lambda check: check.plugin_name
)
def test_without_held_out_rows_nothing_is_measured(check, bench, int8_model, snapshot, workplace):
    finding = check.run(int8_model, bench(snapshot=without_test_rows(snapshot, workplace)))
    assert finding.verdict is Verdict.NOT_MEASURED
    assert finding.value is None
    assert finding.reason == "the snapshot has no rows in its part 'test'"


@pytest.mark.parametrize(
    "check", [AccuracyDrop(), GoldenParity(), Disagreement(against="reference")]
)
def test_without_a_reference_nothing_is_compared(check, bench, int8_model):
    finding = check.run(int8_model, bench(reference=None))
    assert finding.verdict is Verdict.NOT_MEASURED
    assert finding.reason == "there is no reference model"


def test_accuracy_is_the_share_of_right_answers_with_its_interval(
    bench, onnx_model, snapshot, workplace
):
    rows = mislabelled(snapshot, workplace, {0: 6})
    finding = Accuracy(min=0.95).run(onnx_model, bench(snapshot=rows))
    assert finding.value == pytest.approx(0.9)
    assert finding.verdict is Verdict.FAIL
    assert finding.limit == ">= 0.95"
    assert finding.interval == pytest.approx((0.7985, 0.9534), abs=1e-4)
    assert finding.evidence["rows"] == 60
    assert finding.evidence["profiles"] == {"clean": {"value": pytest.approx(0.9), "rows": 60}}
    assert finding.evidence["pictures"][0]["cells"][1] == [6, 20, 0]


def test_a_value_at_the_limit_passes(bench, onnx_model, snapshot, workplace):
    rows = mislabelled(snapshot, workplace, {0: 6})
    assert Accuracy(min=0.9).run(onnx_model, bench(snapshot=rows)).verdict is Verdict.PASS


def test_the_worst_class_is_named_with_its_own_interval(bench, onnx_model, snapshot, workplace):
    rows = mislabelled(snapshot, workplace, {1: 10})
    finding = WorstClass(min=0.8).run(onnx_model, bench(snapshot=rows))
    assert finding.verdict is Verdict.FAIL
    assert finding.value == pytest.approx(20 / 30)
    assert finding.reason == "worst is 'middle', 30 rows"
    assert finding.interval == pytest.approx((0.4878, 0.8077), abs=1e-4)


def test_a_class_without_held_out_rows_is_not_measured(bench, onnx_model, snapshot, workplace):
    rows = mislabelled(snapshot, workplace, {2: 20})
    finding = WorstClass().run(onnx_model, bench(snapshot=rows))
    assert finding.verdict is Verdict.NOT_MEASURED
    assert finding.reason == "no held-out rows of middle"


def silenced(model, workplace):
    """The network with a head that always says the first class."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(model.files["weights.safetensors"])
    tensors["head.weight"][:], tensors["head.bias"][:] = 0, [9, 0, 0]
    path = workplace().scratch / "weights.safetensors"
    save_file(tensors, str(path))
    return dataclasses.replace(model, files={path.name: path})


@pytest.mark.parametrize(("kind", "value"), [("ABSOLUTE", 0.6), ("RELATIVE", 0.6 / 0.9)])
def test_a_drop_is_counted_on_the_same_rows(kind, value, bench, torch_model, snapshot, workplace):
    rows = mislabelled(snapshot, workplace, {1: 6})
    worse = silenced(torch_model, workplace)
    finding = AccuracyDrop(max=0.01, kind=kind).run(worse, bench(snapshot=rows))
    assert finding.value == pytest.approx(value, abs=0.05)
    assert finding.verdict is Verdict.FAIL
    assert finding.interval[0] < finding.value < finding.interval[1]


def test_a_form_that_is_better_than_the_reference_has_a_negative_drop(
    bench, torch_model, workplace
):
    finding = AccuracyDrop(max=0).run(
        torch_model, bench(reference=silenced(torch_model, workplace))
    )
    assert finding.value == pytest.approx(-2 / 3, abs=0.05)
    assert finding.verdict is Verdict.PASS


def test_size_is_the_bytes_of_all_files_and_takes_text_with_units(bench, int8_model):
    size = int8_model.files["model.onnx"].stat().st_size
    assert Size(max=size).run(int8_model, bench()).verdict is Verdict.PASS
    assert Size(max=size - 1).run(int8_model, bench()).verdict is Verdict.FAIL
    finding = Size(max="300 kB").run(int8_model, bench())
    assert (finding.value, finding.unit, finding.limit) == (size, "bytes", "<= 300000 bytes")


@pytest.mark.parametrize(
    ("limit", "wall", "processor", "verdict"),
    [
        ("5 ms", 4.0, 4.0, Verdict.PASS),
        ("5 ms", 4.0, 1.0, Verdict.PASS),  # others only make it slower
        ("5 ms", 6.0, 6.0, Verdict.FAIL),
        ("5 ms", 6.0, 1.0, Verdict.NOT_MEASURED),
        (None, 6.0, 1.0, Verdict.PASS),
    ],
)
def test_a_slow_run_fails_only_on_a_quiet_machine(limit, wall, processor, verdict):
    finding = LatencyP95(max=limit).judged(np.full(200, wall), np.full(200, processor), 1)
    assert finding.verdict is verdict
    assert finding.value == (None if verdict is Verdict.NOT_MEASURED else wall)
    assert finding.evidence["p95"] == wall


def test_the_slow_tail_counts_and_not_the_middle():
    wall = np.concatenate([np.full(188, 1.0), np.full(12, 9.0)])
    finding = LatencyP95(max=5).judged(wall, wall, 1)
    assert (finding.verdict, finding.value) == (Verdict.FAIL, 9.0)
    assert finding.evidence["median"] == 1.0


def test_latency_holds_for_one_machine():
    assert LatencyP95.machine_bound


def test_parity_has_a_tolerance_for_each_way_of_computing(
    bench, torch_model, onnx_model, int8_model, snapshot, workplace
):
    pruned = PruneChannels(share=0.25).run(torch_model, workplace(snapshot=snapshot))
    found = [GoldenParity().run(m, bench()) for m in (onnx_model, int8_model, pruned)]
    assert [f.reason for f in found] == [
        "exact: within 0.001",
        "int8: within 0.1",
        "changed: within 0.25",
    ]
    assert found[0].value == 1.0


def test_a_form_that_answers_otherwise_fails_parity(bench, torch_model, workplace):
    finding = GoldenParity().run(silenced(torch_model, workplace), bench())
    assert finding.verdict is Verdict.FAIL
    assert finding.limit == ">= 0.95"


def test_a_first_release_passes_without_a_value(bench, onnx_model):
    finding = Disagreement(max=0.05).run(onnx_model, bench(current=None))
    assert finding.verdict is Verdict.PASS
    assert finding.value is None
    assert finding.reason == (
        "first release on this channel: there is no current one to differ from"
    )


def test_disagreement_is_with_the_current_release_whatever_is_true(
    bench, torch_model, snapshot, workplace
):
    finding = Disagreement(max=0.05).run(silenced(torch_model, workplace), bench())
    assert finding.value == pytest.approx(2 / 3, abs=0.05)
    assert finding.verdict is Verdict.FAIL
    assert finding.evidence["profiles"]["clean"]["rows"] == 60


def test_a_current_release_of_other_classes_is_not_compared(bench, onnx_model):
    answer = AnswerSpec(kind="label", params={"classes": ["a", "b", "c"]})
    current = dataclasses.replace(onnx_model, answer=answer)
    finding = Disagreement(max=0.05).run(onnx_model, bench(current=current))
    assert finding.verdict is Verdict.NOT_MEASURED
    assert finding.reason == "the current model has other inputs or another answer kind"
