"""A tensor comes back bit for bit from the old one, and costs less the less it moved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeloop.delta import choose, matrix
from edgeloop.delta.coder import Reader, Writer
from edgeloop.delta.floats import LAYOUTS, Floats
from edgeloop.delta.levels import Affine, Levels
from edgeloop.delta.plain_bits import BitReader
from edgeloop.delta.rans import open_words
from edgeloop.delta.sections import Window

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)


def through(numbers, new, lanes=4):
    """The bytes that ``new`` took, and how it was told; it must come back as it was."""
    writer = Writer()
    chosen = choose.best(writer, numbers, new)
    coded(writer, numbers, chosen.how, chosen.side, new)
    words, plain = writer.finish(lanes)
    bits = BitReader(Window.over(plain))
    reader = Reader(open_words(Window.over(words), lanes), bits)
    found = coded(reader, numbers, chosen.how, None, None)
    reader.finish()
    np.testing.assert_array_equal(found, new)
    return len(words) + len(plain), chosen.how


def coded(coder, numbers, how, side, new):
    side = matrix.code_side(coder, numbers.shape, how, side)
    found = []
    for rows in matrix.chunks(*numbers.shape):
        part = matrix.part(how, side, rows, numbers.shape[1])
        found.append(numbers.rows(rows).code(coder, part, None if new is None else new[rows]))
    return np.concatenate(found)


def patterns(layout, shape):
    return arrays.arrays(np.int64, shape, elements=st.integers(0, 2**layout.width - 1))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(LAYOUTS), SHAPES, st.data())
def test_any_bits_come_back_infinite_ones_and_those_that_are_no_number_too(layout, shape, data):
    old, new = data.draw(patterns(layout, shape)), data.draw(patterns(layout, shape))
    through(Floats(old=old, layout=layout), new)


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.data())
def test_any_levels_come_back_whatever_their_scales(shape, data):
    levels = arrays.arrays(np.int64, shape, elements=st.integers(-128, 127))
    scales = arrays.arrays(np.float64, (shape[0], 1), elements=st.floats(width=32))
    old, new = data.draw(levels), data.draw(levels)
    means = [Affine(scale=data.draw(scales), offset=data.draw(scales)) for _ in range(2)]
    told = {"old_means": means[0], "new_means": means[1]}
    through(Levels(old=old, least=-128, most=127, **told), new)


def weights(rows=96, columns=160):
    return np.random.default_rng(3).normal(0, 0.05, (rows, columns))


def levels(values, scale):
    return np.clip(np.rint(values / scale), -128, 127).astype(np.int64)


def pair(old, new, scale=0.002):
    one = Affine(scale=np.full((1, 1), scale))
    before = levels(old, scale)
    numbers = Levels(old=before, old_means=one, new_means=one, least=-128, most=127)
    return numbers, levels(new, scale)


def test_what_did_not_move_costs_next_to_nothing():
    numbers, new = pair(weights(), weights())
    assert through(numbers, new)[0] < new.size / 100


def test_a_tensor_that_has_nothing_to_do_with_the_old_one_is_told_by_itself():
    numbers, new = pair(weights(), weights()[::-1, ::-1])
    size, how = through(numbers, new)
    assert not how.predicted
    assert size < 1.01 * new.size


def test_a_change_along_few_directions_is_told_by_its_factors():
    chance = np.random.default_rng(5)
    change = chance.normal(0, 0.02, (96, 2)) @ chance.normal(0, 1, (2, 160))
    numbers, new = pair(weights(), weights() + change)
    size, how = through(numbers, new)
    assert how.rank >= 2
    assert size < new.size / 4


def test_rows_that_moved_are_told_apart_from_rows_that_did_not():
    moved = weights()
    moved[::8] += np.random.default_rng(6).normal(0, 0.01, moved[::8].shape)
    numbers, new = pair(weights(), moved)
    size, how = through(numbers, new)
    assert how.by_row
    assert size < new.size / 10


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: one.name)
def test_bit_patterns_keep_their_order_and_come_back(layout):
    every = np.arange(2**16) << (layout.width - 16)
    np.testing.assert_array_equal(layout.from_ordered(layout.ordered(every)), every)
    values = layout.values(every)
    finite = np.flatnonzero((every & layout.magnitude) >> layout.mantissa <= 2 * layout.bias)
    order = np.argsort(layout.ordered(every[finite]), kind="stable")
    assert (np.diff(values[finite][order]) >= 0).all()
    np.testing.assert_array_equal(layout.patterns(values[finite]), every[finite])
