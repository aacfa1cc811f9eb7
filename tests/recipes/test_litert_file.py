"""An existing TFLite file becomes a model of the loop."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tests.litert_side import NAMED, halves, pictures, sides

from edgeloop.checks.golden_parity import GoldenParity
from edgeloop.data.snapshot import write
from edgeloop.errors import DataError, ModelError
from edgeloop.recipes.litert_file import LitertFile
from edgeloop.types import AnswerSpec, Verdict

pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed")


@pytest.fixture
def halved(workplace):
    return sides(workplace, {"picture": pictures(40)})


def placed(context, **how):
    halves(context.folder / "own.tflite", **how)
    return context


@pytest.mark.parametrize("how", [{}, {"form": "int8"}, {"rows": -1}])
def test_a_file_of_ones_own_answers_right(halved, workplace, how):
    context = placed(workplace(snapshot=halved), **how)
    model = LitertFile(file=Path("own.tflite"), outputs=NAMED.outputs).build(halved, context)
    answers = context.session(model).run(halved.feed("test"))
    assert np.array_equal(answers["label"], halved.column("label", "test"))
    finding = GoldenParity(samples=8).run(model, workplace(snapshot=halved, reference=model))
    assert finding.verdict is Verdict.PASS


def test_the_only_output_of_shares_needs_no_word(workplace):
    spec = importlib.util.find_spec("pymicro_wakeword")
    file = Path(spec.submodule_search_locations[0]) / "models" / "alexa.tflite"
    sound = np.random.default_rng(2).random((24, 3, 40)).astype(np.float32) * 26
    heard = sides(workplace, {"sound": sound}, ("other", "alexa"))
    model = LitertFile(file=file).build(heard, workplace(snapshot=heard))
    assert model.program == (
        {
            "step": "graph",
            "inputs": {"sound": "input_audio"},
            "outputs": [
                {"name": "probabilities", "of": "dense_1", "how": "both"},
                {"name": "label", "of": "probabilities", "how": "largest"},
            ],
        },
    )
    answers = workplace().session(model).run(heard.feed())
    assert answers["probabilities"].shape == (24, 2)
    assert answers["probabilities"].sum(axis=1).tolist() == [1.0] * 24


def test_logits_are_no_shares(halved, workplace):
    with pytest.raises(ModelError) as caught:
        LitertFile(file=Path("own.tflite")).build(halved, placed(workplace(), gain=0.1))
    assert str(caught.value).startswith(
        "[E120] model file own.tflite must give probabilities that sum to 1, got "
    )
    assert str(caught.value).endswith(
        ". Set how: softmax in recipe.outputs when the output is logits"
    )


def test_each_class_has_a_share(workplace):
    three = sides(workplace, {"picture": pictures(45)}, ("a", "b", "c"))
    with pytest.raises(ModelError) as caught:
        LitertFile(file=Path("own.tflite"), outputs=NAMED.outputs).build(three, placed(workplace()))
    assert str(caught.value) == (
        "[E120] model file own.tflite must answer one row with 3 probabilities, got shape [2]"
    )


def test_columns_are_named_as_the_graph_takes_them(workplace):
    both = {"one": pictures(40), "two": pictures(40)}
    rows = sides(workplace, both)
    with pytest.raises(DataError) as caught:
        LitertFile(file=Path("own.tflite")).build(rows, placed(workplace()))
    assert str(caught.value) == (
        "[E110] inputs of snapshot halves must be image, as own.tflite takes them, got one, two. "
        "Name each column's in recipe.inputs"
    )


def test_a_kind_says_what_must_be_given(workplace):
    column = write(
        name="values",
        inputs={"picture": pictures(8)},
        target=("value", np.zeros(8, dtype=np.float32)),
        answer=AnswerSpec(kind="number"),
        scratch=workplace().scratch,
        provenance={},
    )
    with pytest.raises(ModelError) as caught:
        LitertFile(file=Path("own.tflite")).build(column, placed(workplace()))
    assert str(caught.value) == (
        "[E120] model file own.tflite must give value, got logits. "
        "Say in recipe.outputs what each is made of"
    )


def test_a_changed_file_is_a_new_step(workplace):
    recipe, context = LitertFile(file=Path("own.tflite")), placed(workplace())
    before = recipe.inputs_digest(context.folder)
    placed(context, gain=0.2)
    assert recipe.inputs_digest(context.folder) != before


def test_a_file_that_is_not_there_is_named(halved, workplace):
    with pytest.raises(ModelError) as caught:
        LitertFile(file=Path("none.tflite")).build(halved, workplace())
    assert str(caught.value) == (
        "[E120] model file none.tflite must be readable, got No such file or directory. "
        "It is relative to the loop file"
    )
