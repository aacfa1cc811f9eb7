"""The graph of boosted trees answers as LightGBM does: texts, gaps, and rows on a threshold."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import ModelError
from edgeloop.passes import export_trees
from edgeloop.passes.export_trees import ExportTrees, _rounded_down
from table_side import people

TOLERANCE = 1e-5


def gap(trees, trees_graph, inputs, workplace) -> float:
    """The largest difference of a probability; labels must not differ at all."""
    one, other = (workplace().session(model).run(inputs) for model in (trees, trees_graph))
    assert one["label"].tolist() == other["label"].tolist()
    assert {name: values.dtype for name, values in one.items()} == {
        name: values.dtype for name, values in other.items()
    }
    return float(np.abs(one["probabilities"] - other["probabilities"]).max())


def test_the_graph_gives_what_the_trees_give_on_every_held_out_row(
    trees, trees_graph, towns, workplace
):
    inputs = towns.feed("test")
    assert "" in inputs["town"]
    assert np.isnan(inputs["age"]).any()
    assert gap(trees, trees_graph, inputs, workplace) <= TOLERANCE


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("town", "Zell"),  # never seen
        ("town", ""),
        ("trade", ""),  # never missing in training: as one that was never seen
        ("age", np.nan),
        ("debt", np.nan),  # never missing in training: LightGBM takes it for 0
        ("debt", 0.0),
        ("debt", np.inf),
        ("debt", -np.inf),
        ("hours", -(2**40)),
    ],
)
def test_values_that_training_never_saw_are_answered_alike(
    trees, trees_graph, workplace, column, value
):
    inputs, _ = people(300, seed=9)
    inputs[column] = np.full(300, value, dtype=inputs[column].dtype)
    assert gap(trees, trees_graph, inputs, workplace) <= TOLERANCE


@given(st.floats(-1e300, 1e300), st.floats(width=32, allow_nan=False))
def test_a_float32_is_on_the_same_side_of_a_threshold_that_was_rounded_down(threshold, number):
    rounded = _rounded_down(threshold)
    assert float(np.float32(rounded)) == rounded
    with np.errstate(over="ignore"):
        above = float(np.nextafter(np.float32(rounded), np.float32(np.inf)))
    for one in (number, rounded, above):
        assert (one <= threshold) == (one <= rounded)


def test_every_column_is_an_input_of_its_own_the_ignored_one_too(trees_graph, towns):
    graph = onnx.load(str(trees_graph.files["model.onnx"])).graph
    kinds = {one.name: one.type.tensor_type.elem_type for one in graph.input}
    text, single, whole = (getattr(onnx.TensorProto, n) for n in ("STRING", "FLOAT", "INT64"))
    assert kinds == {
        "town": text,
        "trade": text,
        "age": single,
        "debt": single,
        "hours": whole,
        "sex": text,
    }
    assert [output.name for output in graph.output] == ["probabilities", "label"]


def test_the_graph_is_valid_and_the_same_trees_give_the_same_bytes(
    trees, trees_graph, towns, workplace
):
    path = trees_graph.files["model.onnx"]
    onnx.checker.check_model(onnx.load(str(path)))
    again = ExportTrees().run(trees, workplace(snapshot=towns))
    assert again.files["model.onnx"].read_bytes() == path.read_bytes()


def test_a_model_of_another_form_is_refused(trees_graph, towns, workplace):
    with pytest.raises(ModelError) as caught:
        ExportTrees().run(trees_graph, workplace(snapshot=towns))
    assert str(caught.value) == (
        "[E120] export_trees must be given a lightgbm model, got onnx. "
        "Place it right behind the recipe gradient_boosting"
    )


def test_a_graph_that_answers_otherwise_is_not_passed_on(trees, towns, workplace, monkeypatch):
    monkeypatch.setattr(export_trees, "_missing_goes_left", lambda node: not node["default_left"])
    with pytest.raises(
        ModelError, match=r"must answer as LightGBM does within 1e-05, got \d+ of 512 rows"
    ):
        ExportTrees().run(trees, workplace(snapshot=towns))


def test_trees_without_a_split_are_exported_too(workplace, towns):
    from edgeloop.recipes.gradient_boosting import GradientBoosting

    model = GradientBoosting(leaf_rows=400).build(towns, workplace(snapshot=towns))
    graph = ExportTrees().run(model, workplace(snapshot=towns))
    assert graph.notes["trees"] == 1
    assert gap(model, graph, towns.feed("test"), workplace) <= TOLERANCE
