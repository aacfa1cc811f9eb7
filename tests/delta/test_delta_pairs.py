"""Each new tensor is told from the old one that is most like it, whatever it is called."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from onnx import helper, numpy_helper
from safetensors.numpy import save

from edgeloop.delta import pairs as pairing
from edgeloop.delta.containers import find
from edgeloop.delta.pairs import pairs

CHANCE = np.random.default_rng(8)


def weights(*shape):
    return CHANCE.normal(0, 0.1, shape).astype(np.float32)


def moved(values, much=0.02):
    return values + CHANCE.normal(0, much, values.shape).astype(np.float32)


def names(old, new):
    """New name -> old name, of two files' bytes."""
    old, new = memoryview(old), memoryview(new)
    told = pairs(find(old), old, find(new), new)
    assert [one for one, _ in told] == find(new)
    for one, other in told:
        assert other is None or (one.shape, one.form) == (other.shape, other.form)
    return {one.name: other and other.name for one, other in told}


def test_names_are_kept_where_the_numbers_bear_them_out():
    old = {f"block.{layer}": weights(16, 16) for layer in range(4)}
    new = {name: moved(one) for name, one in old.items()}
    assert names(save(old), save(new)) == {name: name for name in old}


def exported(layers, first):
    """A file of matrices, numbered from ``first`` as an exporter does."""
    constants = [
        numpy_helper.from_array(one, f"onnx::MatMul_{first + place}")
        for place, one in enumerate(layers)
    ]
    return helper.make_model(helper.make_graph([], "g", [], [], constants)).SerializeToString()


@pytest.mark.parametrize("much", [0, 0.02, 0.2])
def test_tensors_that_an_exporter_numbers_anew_are_found_by_their_numbers(much):
    """Each new name but the last is an old one too: of the layer behind it."""
    layers = [weights(64, 64) for _ in range(6)]
    new = exported([moved(one, much) for one in layers], 124)
    expected = {f"onnx::MatMul_{124 + place}": f"onnx::MatMul_{123 + place}" for place in range(6)}
    assert names(exported(layers, 123), new) == expected


def test_what_was_trained_from_scratch_keeps_its_name():
    old = {f"block.{layer}": weights(16, 16) for layer in range(4)}
    new = {name: weights(16, 16) for name in old}
    assert names(save(old), save(new)) == {name: name for name in old}


def test_a_new_tensor_of_another_shape_or_form_has_no_partner():
    old = {"a": weights(16, 16), "b": weights(16, 16), "c": weights(64)}
    new = {"a": old["a"].reshape(8, 32), "b": old["b"].astype(np.float16), "d": weights(64)}
    assert names(save(old), save(new)) == {"a": None, "b": None, "d": None}


def test_equal_tensors_of_few_numbers_are_found_by_their_content():
    old = {"x": np.zeros(4, np.float32), "y": np.arange(4, dtype=np.float32)}
    new = {"p": np.arange(4, dtype=np.float32), "q": np.ones(4, np.float32)}
    assert names(save(old), save(new)) == {"p": "y", "q": None}


def test_of_equal_tensors_the_one_of_the_same_name_is_taken():
    old = {"x": np.zeros(1, np.float32), "y": np.zeros(1, np.float32)}
    assert names(save(old), save({"y": old["y"]})) == {"y": "y"}


def test_few_numbers_keep_their_name_even_when_they_changed():
    old, new = {"bias": weights(8)}, {"bias": weights(8)}
    assert names(save(old), save(new)) == {"bias": "bias"}


@pytest.mark.parametrize(
    "form", [np.float16, ml_dtypes.bfloat16, np.int8, np.uint8, np.int32, np.int64]
)
def test_likeness_is_seen_in_every_form(form):
    kind = np.dtype(form)

    def levels(values):
        if kind.kind in "fV":
            return values.astype(kind)
        return (np.rint(values * 200) + 100 * (kind.kind == "u")).astype(kind)

    layers = [weights(32, 40) for _ in range(3)]
    old = {f"old.{place}": levels(one) for place, one in enumerate(layers)}
    new = {f"new.{place}": levels(moved(one)) for place, one in enumerate(layers)}
    assert names(save(old), save(new)) == {f"new.{place}": f"old.{place}" for place in range(3)}


def test_the_numbers_that_are_large_count_and_not_the_signs_of_small_ones():
    large = [np.where(CHANCE.random((40, 40)) < 0.05, weights(40, 40), 0) for _ in range(2)]
    old = {"a": large[0], "b": large[1]}
    new = {"c": large[1], "d": large[0]}
    told = [
        save({name: moved(one, 1e-4).astype(ml_dtypes.bfloat16) for name, one in side.items()})
        for side in (old, new)
    ]
    assert names(*told) == {"c": "b", "d": "a"}


def test_numbers_that_are_none_hide_no_likeness():
    old = {"a": weights(40, 40), "b": weights(40, 40)}
    new = {"c": moved(old["b"]), "d": moved(old["a"])}
    for one in (*old.values(), *new.values()):
        one[3, :4] = np.nan, np.inf, -np.inf, 3e38
    assert names(save(old), save(new)) == {"c": "b", "d": "a"}


def test_tensors_of_one_name_are_taken_in_their_order():
    held = memoryview(save({"a": weights(4), "b": weights(4)}))
    found = [replace(one, name="same") for one in find(held)]
    assert pairs(found, held, found, held) == [(one, one) for one in found]


def test_the_more_tensors_of_a_kind_the_fewer_numbers_are_compared(monkeypatch):
    monkeypatch.setattr(pairing, "MOST_WORK", 4 * 4 * 256)
    monkeypatch.setattr(pairing, "AT_ONCE", 3)
    layers = [weights(64, 64) for _ in range(4)]
    old = {f"old.{place}": one for place, one in enumerate(layers)}
    new = {f"new.{place}": moved(one) for place, one in enumerate(layers)}
    sampled = []
    real = pairing._numbers
    monkeypatch.setattr(
        pairing, "_numbers", lambda *given: sampled.append(real(*given)) or sampled[-1]
    )
    assert names(save(old), save(new)) == {f"new.{place}": f"old.{place}" for place in range(4)}
    assert {len(one) for one in sampled} == {256}


def test_places_that_are_compared_lie_in_every_column_of_a_matrix():
    matrix = np.tile(np.arange(256, dtype=np.float32), (512, 1))
    content = memoryview(save({"m": matrix}))
    sample = pairing._numbers(*find(content), content, 4096)
    assert set(sample) == set(range(256))
