"""Sketches merge without loss of meaning, and the index sees a shift."""

import numpy as np
import pytest

from edgeloop.errors import BundleError, ProtocolError
from edgeloop.sketches.features import summaries_for, summarise
from edgeloop.sketches.profile import Profile, merged
from edgeloop.sketches.psi import distance, drift, nearest, psi


def profile(values, name="input.x") -> Profile:
    found = Profile()
    found.update({name: np.asarray(values, dtype=float)})
    return found


def test_merged_sketches_say_what_one_sketch_of_everything_says():
    values = np.random.default_rng(1).normal(size=4000)
    parts = merged(profile(part) for part in np.split(values, 8))
    for rank in (0.1, 0.5, 0.9):
        (found,) = parts.quantiles("input.x", [rank])
        assert abs((values < found).mean() - rank) < 0.04
    assert parts.rows("input.x") == 4000


def test_equal_values_give_equal_bytes_however_many_they_are():
    values = np.random.default_rng(4).normal(size=5000)
    assert profile(values).to_json() == profile(values).to_json()


def test_a_profile_survives_json_unchanged():
    before = profile(np.arange(500))
    after = Profile.from_json(before.to_json())
    assert after.to_json() == before.to_json()


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "A" * 400])
def test_a_broken_sketch_is_refused_by_name(text):
    with pytest.raises(ProtocolError) as raised:
        Profile.from_json({"input.x": text})
    assert str(raised.value).startswith(
        "[E606] sketch of feature 'input.x' must be a t-digest in base64, got "
    )


def test_the_index_is_calm_on_the_same_population_and_high_on_a_moved_one():
    source = np.random.default_rng(2)
    reference = profile(source.normal(size=2000))
    assert psi(reference, profile(source.normal(size=600)), "input.x") < 0.1
    assert psi(reference, profile(source.normal(1.5, size=600)), "input.x") > 0.5


def test_few_rows_are_not_judged():
    assert psi(profile(np.arange(1000)), profile(np.arange(49)), "input.x") is None
    assert drift(profile(np.arange(1000)), profile(np.arange(49))) == {}


def test_a_constant_feature_gives_a_finite_index():
    assert psi(profile(np.zeros(500)), profile(np.zeros(500)), "input.x") == pytest.approx(
        0, abs=0.01
    )
    assert np.isfinite(psi(profile(np.zeros(500)), profile(np.ones(500)), "input.x"))


def test_the_nearest_profile_is_the_one_that_the_inputs_come_from():
    source = np.random.default_rng(3)
    known = {"a": profile(source.normal(0, 1, 1000)), "b": profile(source.normal(3, 1, 1000))}
    found = nearest(known, profile(source.normal(2.8, 1, 300)))
    assert found is not None
    assert found[0] == "b"
    assert distance(known["a"], profile([])) is None


def test_values_that_are_not_finite_are_left_out():
    assert profile([1.0, np.nan, np.inf]).rows("input.x") == 1


def test_an_image_gives_eight_finite_summaries_even_when_it_is_black():
    black = np.zeros((3, 28, 28), dtype=np.uint8)
    found = summarise({"image": black}, {"image": "image"})
    assert len(found) == 8
    assert all(np.isfinite(values).all() for values in found.values())


def test_a_turned_image_has_another_slant():
    bar = np.zeros((1, 28, 28), dtype=np.uint8)
    bar[0, 4:24, 13:15] = 255
    slanted = np.zeros_like(bar)
    for row in range(4, 24):
        slanted[0, row, 24 - row] = 255
    slant = "input.image.slant"
    upright = summarise({"image": bar}, {"image": "image"})[slant][0]
    turned = summarise({"image": slanted}, {"image": "image"})[slant][0]
    assert abs(abs(upright) - np.pi / 2) < 0.01
    assert abs(turned) < np.pi / 3


def test_an_unknown_summary_is_refused():
    with pytest.raises(BundleError) as raised:
        summarise({"x": np.zeros((1, 1))}, {"x": "spectrum"})
    rule = "must be one of array, category, image, text, value"
    assert str(raised.value) == f"[E404] signals.x {rule}, got 'spectrum'"


def test_a_summary_is_found_for_every_input():
    inputs = {
        "grey": np.ones((4, 28, 28), np.uint8), "colour": np.ones((4, 8, 8, 3), np.uint8),
        "number": np.ones(4, np.float32), "one": np.ones((4, 1), np.float32),
        "spectrum": np.ones((4, 96, 7), np.float32), "three": np.ones((4, 3), np.float32),
        "city": np.array(["Rome", "", "Rome", ""], dtype=object),
        "mail": np.array([f"mail {n}" for n in range(200)], dtype=object),
    }  # fmt: skip
    found = summaries_for(inputs)
    assert list(found.values()) == [
        "image", "image", "value", "value", "array", "array", "category", "text",
    ]  # fmt: skip
    for name, values in inputs.items():
        made = summarise({name: values}, {name: found[name]})
        assert all(column.shape == (len(values),) for column in made.values())


def test_a_few_texts_that_are_all_different_are_no_categories():
    questions = np.array([f"question {n}" for n in range(60)] * 2, dtype=object)
    assert summaries_for({"prompt": questions[:60]}) == {"prompt": "text"}
    assert summaries_for({"prompt": questions}) == {"prompt": "category"}


def test_a_time_is_not_sketched_for_it_is_always_later_than_before():
    assert summaries_for({"time": np.zeros(3, "datetime64[s]")}) == {}


def test_a_category_that_was_never_seen_shows_as_drift():
    known = np.array(["Rome", "Oslo"] * 200, dtype=object)
    strange = np.array(["Roma", "Oslo"] * 200, dtype=object)
    sides = Profile(), Profile()
    for side, values in zip(sides, (known, strange), strict=True):
        side.update(summarise({"city": values}, {"city": "category"}))
    assert psi(*sides, "input.city.bucket") > 1


def test_a_number_that_goes_missing_shows_as_drift():
    values = np.linspace(0, 1, 400, dtype=np.float32)
    gone = np.where(np.arange(400) % 2, values, np.nan).astype(np.float32)
    sides = Profile(), Profile()
    for side, column in zip(sides, (values, gone), strict=True):
        side.update(summarise({"x": column}, {"x": "value"}))
    assert psi(*sides, "input.x.missing") > 0.25  # the usual limit
    assert psi(*sides, "input.x.value") < 0.1
