"""What works on TFLite files keeps the contract too."""

from pathlib import Path

import pytest
from tests import litert_side

from edgeloop.recipes.litert_file import LitertFile
from edgeloop.runtimes.litert import LiteRt
from edgeloop.testing import contracts

pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed")


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_litert_answers_rows_and_refuses_what_does_not_fit(form, tmp_path, workplace):
    model = litert_side.model(litert_side.halves(tmp_path / "h.tflite", form=form))
    rows = {"image": litert_side.pictures(6)}
    contracts.check_runtime(LiteRt(), model, rows, workplace())


def test_a_tflite_file_becomes_the_same_model_twice(workplace):
    context = workplace()
    litert_side.halves(context.folder / "own.tflite", form="int8")
    sides = litert_side.sides(workplace, {"picture": litert_side.pictures(40)})
    recipe = LitertFile(file=Path("own.tflite"), outputs=litert_side.NAMED.outputs)
    contracts.check_recipe(recipe, sides, context)
