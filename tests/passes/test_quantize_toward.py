"""Towards the release that is out: an update of few bytes, by levels and ranges that stay."""

import dataclasses

import numpy as np
import onnx
import pytest

from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.delta.encode import made
from edgeloop.passes.export_onnx import ExportOnnx
from edgeloop.passes.near_levels import Levels, near
from edgeloop.passes.quantize import Quantize
from edgeloop.passes.within_bytes import within
from edgeloop.types import AnswerSpec
from model_side import CLASSES, RECIPE, bars


@pytest.fixture(scope="module")
def moved(workplace):
    """The rows that cameras send once their view has moved by a pixel."""
    images, labels = bars(240, seed=8)
    whole = write(
        name="bars",
        inputs={"image": np.roll(images, 1, axis=2)},
        target=("label", labels),
        answer=AnswerSpec(kind="label", params={"classes": CLASSES}),
        scratch=workplace().scratch,
        provenance={},
    )
    return Stratified(test=0.25, validation=0.15).run(whole, workplace())


@pytest.fixture(scope="module")
def tuned(torch_model, moved, workplace):
    """What a fine-tune on them makes of the float model, exported."""
    again = RECIPE.build(moved, workplace(snapshot=moved, start=torch_model))
    return ExportOnnx().run(again, workplace(snapshot=moved))


@pytest.fixture(scope="module")
def quantized(tuned, moved, int8_model, workplace):
    def run(**parameters):
        context = workplace(snapshot=moved, current=int8_model)
        return Quantize(calibrate=64, **parameters).run(tuned, context)

    return run


def content(model) -> bytes:
    return model.files["model.onnx"].read_bytes()


def update(old, new) -> int:
    return len(made([content(old)], [content(new)]).data)


def scales(model) -> dict[str, np.ndarray]:
    graph = onnx.load(str(model.files["model.onnx"])).graph
    return {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer if "_scale" in t.name}


def levels(model) -> dict[str, np.ndarray]:
    graph = onnx.load(str(model.files["model.onnx"])).graph
    held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    return {name: array for name, array in held.items() if name.endswith("weight_quantized")}


def test_a_higher_rate_asks_for_fewer_bytes_and_rounding_for_most(quantized, int8_model):
    plain = update(int8_model, quantized())
    sizes = [update(int8_model, quantized(toward="current", rate=rate)) for rate in (0, 1e-4, 1e-3)]
    assert plain >= sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < plain / 2


def test_a_small_update_still_answers_for_the_moved_camera(quantized, int8_model, workplace):
    images, labels = bars(90, seed=9)
    near_it = quantized(toward="current", rate=1e-3)
    answers = workplace().session(near_it).run({"image": np.roll(images, 1, axis=2)})
    assert (answers["label"] == labels).mean() > 0.97


def test_the_search_takes_the_least_rate_whose_update_is_small_enough(quantized, int8_model):
    found = quantized(toward="current", update_bytes="<= 4 kB")
    told = found.notes["quantization"]
    assert update(int8_model, found) == told["update_bytes"]
    assert 2500 < told["update_bytes"] <= 4000


def test_the_search_halves_the_rung_on_which_the_limit_lies():
    def measured(rate: float) -> int:
        return round(1000 * (1e-6 / rate) ** 0.5)

    found = within(230, 1e-6, measured)
    assert found.bytes == measured(found.rate) <= 230 < measured(found.rate / 1.4)


def test_a_limit_that_nothing_meets_gives_the_smallest_update(quantized, caplog):
    found = quantized(toward="current", update_bytes=10)
    assert found.notes["quantization"]["rate"] == pytest.approx(0.1)
    assert "quantize.large" in caplog.text


def test_ranges_that_still_fit_stay_as_they_are(quantized, int8_model):
    old, free, kept = (scales(m) for m in (int8_model, quantized(), quantized(toward="current")))
    assert not (free["sub_3_scale"] == old["sub_3_scale"]).any()
    assert (kept["sub_3_scale"] == old["sub_3_scale"]).all()  # of pixels, which are as bright
    assert kept["relu_6_scale"] > 1.5 * old["relu_6_scale"]  # of what the fine-tune has changed


def test_the_first_release_is_quantized_as_without(tuned, moved, quantized, workplace):
    context = workplace(snapshot=moved)
    assert content(Quantize(calibrate=64, toward="current").run(tuned, context)) == content(
        quantized()
    )


def test_levels_that_a_training_kept_near_are_found_again(
    torch_model, int8_model, moved, workplace
):
    near_it = dataclasses.replace(RECIPE, toward="current", tune_epochs=2, bit_price=1e-4)
    tuned = near_it.build(moved, workplace(snapshot=moved, start=torch_model, current=int8_model))
    exported = ExportOnnx().run(tuned, workplace(snapshot=moved))
    context = workplace(snapshot=moved, current=int8_model)
    found = levels(Quantize(calibrate=64, toward="current").run(exported, context))
    old, name = levels(int8_model), "blocks.2.3.weight_quantized"
    assert (found[name] == old[name]).mean() > 0.97


GENERATOR = np.random.default_rng(5)
OLD = Levels(levels=GENERATOR.integers(-64, 65, (8, 60)), scales=GENERATOR.uniform(0.1, 1, 8))
EVEN = np.ones((1, 60))


def test_a_row_that_normalization_has_stretched_keeps_its_levels():
    stretch = GENERATOR.uniform(0.6, 1.4, 8)
    found = near(OLD.real() * stretch[:, None], OLD, EVEN, rate=1e-6, most=64)
    assert (found.levels == OLD.levels).all()
    assert found.scales == pytest.approx(OLD.scales * stretch)


def test_a_weight_moves_only_where_that_is_worth_its_bits():
    moves = np.zeros_like(OLD.levels)
    moves[0, 0], moves[1, 2] = 1, 40
    target = OLD.real() + moves * OLD.scales[:, None]
    found = [near(target, OLD, EVEN, rate=rate, most=127).levels for rate in (0, 1e-4)]
    assert (found[0] - OLD.levels).tolist() == moves.tolist()
    assert np.argwhere(found[1] != OLD.levels).tolist() == [[1, 2]]


def test_a_weight_that_meets_no_input_does_not_move():
    importance = np.ones((1, 60))
    importance[0, 1] = 0
    moved = OLD.levels + 9 * np.where(GENERATOR.random((8, 60)) < 0.5, 1, -1)
    target = moved * OLD.scales[:, None]
    found = near(target, OLD, importance, rate=1e-6, most=127)
    assert (found.levels[:, 1] == OLD.levels[:, 1]).all()
    assert (found.levels[:, 0] != OLD.levels[:, 0]).all()
