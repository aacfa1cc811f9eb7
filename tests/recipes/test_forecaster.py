"""The forecaster learns a season, keeps its intervals' promise, and says when it has no answer."""

import dataclasses
import hashlib
from contextlib import contextmanager

import numpy as np
import pytest

from edgeloop.answers import open_kind
from edgeloop.data.merge import merge
from edgeloop.data.split_by_time import ByTime
from edgeloop.errors import DataError, ModelError
from edgeloop.plugins import get
from edgeloop.recipes.forecaster import Forecaster, _judged
from edgeloop.recipes.series_windows import examples
from edgeloop.runtimes.program import answers_to, prepared, stretches
from edgeloop.types import AnswerSpec, Budget, Model, TensorSpec
from series_side import ANSWER, RECIPE, ahead, readings, series

KIND = open_kind(ANSWER)


@pytest.fixture(scope="module")
def snapshot(workplace):
    return series(workplace())


@pytest.fixture(scope="module")
def model(snapshot, workplace) -> Model:
    return RECIPE.build(snapshot, workplace(snapshot=snapshot))


def digest(model: Model) -> str:
    return hashlib.sha256(model.files["weights.safetensors"].read_bytes()).hexdigest()


def asked(model: Model, times, values, workplace) -> dict:
    return workplace().session(model).run({"time": times, "value": values.astype(np.float32)})


def test_it_is_better_than_the_day_before_and_its_intervals_hold_what_they_promise(
    model, snapshot, workplace
):
    answers = workplace().session(model).run(snapshot.feed("test"))
    values, truth = snapshot.column("value", "test"), snapshot.column("ahead", "test")
    naive = np.nanmean(np.abs(values[24:] - values[:-24])) / KIND.scale
    assert np.nanmean(KIND.errors(answers, truth)) < 0.9 * naive
    assert 0.7 < np.nanmean(KIND.covered(answers, truth)) < 0.95


def test_there_is_no_answer_until_the_window_is_full(model, snapshot, workplace):
    answers = workplace().session(model).run(snapshot.feed("test"))
    for values in answers.values():
        assert np.isnan(values[:23]).all()
        assert not np.isnan(values[23:]).any()


def test_low_is_never_above_the_value_nor_high_below_it(model, workplace):
    answers = asked(model, *readings(200, seed=5), workplace)
    seen = {name: values[23:] for name, values in answers.items()}
    assert (seen["low"] <= seen["value"]).all()
    assert (seen["value"] <= seen["high"]).all()


def test_the_same_data_and_seed_give_the_same_model(model, snapshot, workplace):
    again = RECIPE.build(snapshot, workplace(snapshot=snapshot))
    assert digest(again) == digest(model)
    assert again.to_meta() == model.to_meta()
    other = RECIPE.build(snapshot, workplace(snapshot=snapshot, seed=8))
    assert digest(other) != digest(model)


def test_a_sensor_in_another_unit_gets_the_same_forecast_in_that_unit(model, workplace):
    times, values = readings(100, seed=6)
    one, other = (asked(model, times, v, workplace)["value"] for v in (values, 2.5 * values + 40))
    assert other[23:] == pytest.approx(2.5 * one[23:] + 40, rel=1e-3)


def test_normalised_by_the_training_part_another_unit_is_another_world(snapshot, workplace):
    fixed = dataclasses.replace(RECIPE, normalise="training")
    model = fixed.build(snapshot, workplace(snapshot=snapshot))
    times, values = readings(100, seed=6)
    one, other = (asked(model, times, v, workplace)["value"] for v in (values, 2.5 * values))
    assert np.abs(other[23:] - 2.5 * one[23:]).max() > 5


def test_answers_keep_to_the_limits_that_readings_have(snapshot, workplace):
    limited = dataclasses.replace(RECIPE, least=0, most=60, epochs=1)
    inside = series(workplace(), np.clip(readings(960)[1], 0, 60))
    model = limited.build(inside, workplace(snapshot=inside))
    answers = workplace().session(model).run(inside.feed("test"))
    assert np.nanmax(answers["high"]) == 60
    assert np.isnan(answers["high"][0]).all()


def test_without_the_adjustment_intervals_are_as_they_were_learnt(model, snapshot, workplace):
    learnt = dataclasses.replace(RECIPE, conformal=False)
    bare = learnt.build(snapshot, workplace(snapshot=snapshot))
    times, values = readings(100, seed=6)
    one, other = (asked(m, times, values, workplace) for m in (model, bare))
    assert np.array_equal(one["value"], other["value"], equal_nan=True)
    assert not np.allclose(one["high"][23:], other["high"][23:])


def test_no_row_is_learnt_whose_truth_lies_in_the_next_part(snapshot):
    window = RECIPE._step(snapshot)
    rows = examples(snapshot, "train", window)
    last = snapshot.column("time", "train").astype(np.int64)[-1]
    assert rows.time.max() == last - 6 * 3600
    assert len(rows.time) == len(snapshot.column("time", "train")) - 23 - 6


def test_readings_of_two_devices_are_two_series(snapshot, workplace):
    times, values = readings(120, seed=9)
    other = values + 1000  # the second device, in the same hours
    both = [np.concatenate(pair) for pair in ((times, times), (values, other))]
    truth = np.concatenate([ahead(values), ahead(other)])
    field = ({"time": both[0], "value": both[1]}, truth)
    rows = merge(snapshot, field, "field:south", workplace().scratch, split=ByTime())
    found = examples(rows, "train", RECIPE._step(rows))
    seen = found.taken(found.new).history
    large = (seen > 500).sum(axis=1)
    assert set(large.tolist()) == {0, RECIPE.window}  # no window has readings of both
    assert (large == 0).sum() == (large > 0).sum()  # where each ends, its last truths lie beyond
    chance = found.chance(0.4)
    assert chance[found.new].sum() == pytest.approx(0.4)
    assert examples(snapshot, "train", RECIPE._step(snapshot)).chance(0.4) is None


def test_checks_and_bundles_begin_anew_where_another_series_does(model):
    times, values = readings(60)
    twice = {"time": np.concatenate([times, times]), "value": np.concatenate([values, values])}
    session = get("runtime", "torch")().load(model, Budget())
    session.run({"time": times[:30], "value": values[:30]})  # its own memory is not touched
    found = answers_to(twice, model, session)["value"]
    assert np.isnan(found[60:83]).all()
    assert np.allclose(found[:60], found[60:], equal_nan=True)
    assert stretches(model, twice) == [slice(0, 60), slice(60, 120)]
    seen = prepared(model, twice)["history"]
    assert np.array_equal(seen[:60], seen[60:], equal_nan=True)
    assert not np.isnan(session.run({"time": times[30:31], "value": values[30:31]})["value"]).any()


def test_fine_tuning_goes_on_from_the_model_that_is_given(model, snapshot, workplace):
    tuned = RECIPE.build(snapshot, workplace(snapshot=snapshot, start=model))
    assert tuned.notes["fine_tuned"]
    assert tuned.notes["curves"]["validation_loss"][0] < model.notes["curves"]["validation_loss"][0]
    assert digest(tuned) != digest(model)


def test_training_stops_when_validation_no_longer_improves_and_keeps_its_best_epoch(
    snapshot, workplace
):
    hasty = dataclasses.replace(RECIPE, epochs=60, learning_rate=0.3, patience=2)
    model = hasty.build(snapshot, workplace(snapshot=snapshot))
    losses = model.notes["curves"]["validation_loss"]
    assert losses.index(min(losses)) == len(losses) - 3 < 57
    window = hasty._step(snapshot)
    found = _judged(hasty.module(model), examples(snapshot, "validation", window))
    assert found == pytest.approx(min(losses), abs=1e-6)


def test_parameters_and_curves_go_to_the_tracker(snapshot, workplace):
    steps, told = [], {}

    class Notebook:
        @contextmanager
        def run(self, name):
            told["name"] = name
            yield self

        def params(self, values):
            told.update(values)

        def metrics(self, values, step):
            steps.append(sorted(values))

    short = dataclasses.replace(RECIPE, epochs=2)
    short.build(snapshot, workplace(snapshot=snapshot, tracker=Notebook()))
    assert (told["name"], told["width"], told["seed"]) == ("forecaster", 16, 7)
    assert steps == [["learning_rate", "train_loss", "validation_loss"]] * 2


def refusal(snapshot, workplace, recipe=RECIPE, **given) -> str:
    with pytest.raises((DataError, ModelError)) as caught:
        recipe.build(snapshot, workplace(snapshot=snapshot, **given))
    return str(caught.value)


def test_a_snapshot_that_is_no_series_is_refused(snapshot, workplace):
    columns = (TensorSpec(name="time", dtype="int64", shape=()), *snapshot.columns[2:])
    other = dataclasses.replace(snapshot, columns=columns, inputs=("time", "ahead"))
    assert refusal(other, workplace) == (
        "[E110] snapshot waves must have a time and a value per row, datetime64[s] or int64 and "
        "float32, for forecaster, got time int64[], ahead float32[2]"
    )
    label = dataclasses.replace(snapshot, answer=AnswerSpec(kind="label"))
    assert refusal(label, workplace) == (
        "[E110] snapshot waves must have a series to answer, got label"
    )


def test_a_snapshot_without_a_split_is_refused(snapshot, workplace):
    files = {name: path for name, path in snapshot.files.items() if "split" not in name}
    assert refusal(dataclasses.replace(snapshot, files=files), workplace) == (
        "[E110] snapshot waves must be split before training. "
        "Name a split under data: in the loop file"
    )


def test_a_part_without_one_whole_window_is_refused(snapshot, workplace):
    wide = dataclasses.replace(RECIPE, window=400)
    assert refusal(snapshot, workplace, wide) == (
        "[E110] part 'validation' of snapshot waves must have 400 readings behind each other and "
        "a truth for the last, got 192 rows. Add readings, or take a smaller window"
    )


def test_a_horizon_beyond_a_season_is_refused(snapshot, workplace):
    answer = AnswerSpec(kind="series", params={**ANSWER.params, "horizons": [1, 30]})
    assert refusal(dataclasses.replace(snapshot, answer=answer), workplace) == (
        "[E110] horizons of snapshot waves must be at most a season, 24 readings, for "
        "forecaster, got 30"
    )


def test_a_model_with_another_window_is_not_trained_on(model, snapshot, workplace):
    start = dataclasses.replace(model, program=({"step": "graph"},))
    assert refusal(snapshot, workplace, start=start) == (
        "[E120] model to start from must have the inputs, the answer and the window of snapshot "
        "waves, got answer {'horizons': [1, 6], 'level': 0.8, 'scale': 5.0}, "
        "program [{'step': 'graph'}]"
    )
    exported = dataclasses.replace(model, format="onnx")
    assert refusal(snapshot, workplace, start=exported) == (
        "[E120] model to start from must be a torch model, got onnx. "
        "Name the recipe's own model, not one that a pass exported"
    )


def test_broken_weights_are_named(model, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(model.files["weights.safetensors"].read_bytes()[:100])
    with pytest.raises(ModelError) as caught:
        RECIPE.module(dataclasses.replace(model, files={path.name: path}))
    assert str(caught.value).startswith(
        "[E120] model file weights.safetensors must hold the tensors of its architecture, got "
    )


@pytest.mark.parametrize(("field", "rule"), [
    ({"season": 200}, "season must be at most window, 168"),
    ({"fill": 168}, "fill must be below window, 168"),
])  # fmt: skip
def test_parameters_that_do_not_go_together_are_refused(field, rule):
    with pytest.raises(ValueError, match=rule):
        Forecaster(**field)
