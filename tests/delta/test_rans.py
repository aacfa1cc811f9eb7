"""Symbols and plain bits come back as they were written, and broken bytes are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.delta import magnitudes, plain_bits
from edgeloop.delta.coder import Reader, Writer, signed, unsigned
from edgeloop.delta.families import FAMILIES, LEVELS, ULPS, Counts, first_weights
from edgeloop.delta.rans import TOTAL, open_words
from edgeloop.delta.sections import Window
from edgeloop.errors import DeltaError

WIDE = st.integers(-(2**39) + 1, 2**39 - 1)


def reading(words, plain, lanes):
    bits = plain_bits.BitReader(Window.over(plain))
    return Reader(open_words(Window.over(words), lanes), bits)


def written(numbers, classes, lanes):
    writer = Writer()
    signed(writer, LEVELS, classes * LEVELS.variants, numbers)
    unsigned(writer, ULPS, classes, numbers)
    return writer, writer.finish(lanes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WIDE, st.integers(0, 39)), max_size=400), st.integers(1, 70))
def test_what_is_written_is_read_whatever_was_expected(rows, lanes):
    numbers = np.array([row[0] for row in rows], dtype=np.int64)
    classes = np.array([row[1] for row in rows], dtype=np.int64)
    _, (words, plain) = written(numbers, classes, lanes)
    reader = reading(words, plain, lanes)
    np.testing.assert_array_equal(signed(reader, LEVELS, classes * LEVELS.variants, None), numbers)
    np.testing.assert_array_equal(unsigned(reader, ULPS, classes, None), numbers)
    reader.finish()


def likely(count):
    chance = np.random.default_rng(7)
    classes = chance.integers(10, 30, count)
    means = 2.0 ** ((classes - LEVELS.one) / 2)
    return np.rint(chance.laplace(0, 1, count) * means).astype(np.int64), classes


def test_the_bytes_are_near_what_the_tables_say():
    numbers, classes = likely(60_000)
    writer, (words, plain) = written(numbers, classes, 32)
    assert 8 * (len(words) + len(plain)) < 1.01 * writer.cost


def test_a_table_that_has_seen_many_symbols_tells_them_in_few_bits():
    numbers, classes = np.zeros(50_000, dtype=np.int64), np.full(50_000, 30)
    writer, _ = written(numbers, classes, 1)
    assert writer.cost < 5_000


@pytest.mark.parametrize("cut", ["words", "plain"])
def test_bytes_that_end_early_are_refused(cut):
    numbers, classes = likely(2_000)
    _, (words, plain) = written(numbers, classes, 8)
    words = words[:-2] if cut == "words" else words
    reader = reading(words, plain[:-1] if cut == "plain" else plain, 8)
    signed(reader, LEVELS, classes * LEVELS.variants, None)
    with pytest.raises(DeltaError) as raised:
        unsigned(reader, ULPS, classes, None)
    what = "words" if cut == "words" else "plain bits"
    rule = f"delta must hold as many {what} as its symbols take. Fetch it again"
    assert str(raised.value) == f"[E408] {rule}"


def test_bytes_that_go_on_are_refused():
    numbers, classes = likely(100)
    _, (words, plain) = written(numbers, classes, 8)
    reader = reading(words + b"\0\0", plain, 8)
    signed(reader, LEVELS, classes * LEVELS.variants, None)
    unsigned(reader, ULPS, classes, None)
    with pytest.raises(DeltaError) as raised:
        reader.finish()
    assert str(raised.value) == "[E408] delta must end where its symbols end. Fetch it again"


def test_states_that_no_writer_leaves_are_refused():
    with pytest.raises(DeltaError) as raised:
        open_words(Window.over(bytes(8)), 2)
    assert str(raised.value) == "[E408] delta must have states of 65536 or more, got 0"
    with pytest.raises(DeltaError) as raised:
        open_words(Window.over(bytes(7)), 2)
    assert str(raised.value) == "[E408] delta must hold 2 states, got 7"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: f"{one.symbols}x{one.sizes}")
def test_every_table_adds_up_and_can_always_escape(family):
    weights = first_weights(family)
    assert weights.shape == (family.sizes, family.symbols)
    assert weights.min() >= 1
    counts = Counts(family)
    counts.saw(np.zeros(900, dtype=np.int64), np.full(900, 1))
    widths = counts.widths(np.arange(family.sizes * family.variants))
    assert (widths.sum(axis=1) == TOTAL).all()
    assert (widths[:, family.escape] > 0).all()


def test_magnitudes_come_back_from_buckets_and_bits():
    numbers = np.concatenate([np.arange(5000), 2 ** np.arange(39), 2 ** np.arange(1, 40) - 1])
    buckets, lengths, bits = magnitudes.split(numbers)
    np.testing.assert_array_equal(magnitudes.lengths(buckets), lengths)
    np.testing.assert_array_equal(magnitudes.join(buckets, bits), numbers)
    assert buckets.max() < magnitudes.BUCKETS
    assert magnitudes.edges(11) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14]


@pytest.mark.parametrize("data", [b"\xf5", b"\x05\0"], ids=["filled", "longer"])
def test_behind_the_last_bit_there_is_nothing_but_zeros_of_its_byte(data):
    packed = plain_bits.pack(np.array([5]), np.array([3]))
    reader = plain_bits.BitReader(Window.over(packed))
    assert reader.read(np.array([3])).tolist() == [5]
    reader.finish()
    reader = plain_bits.BitReader(Window.over(data))
    reader.read(np.array([3]))
    with pytest.raises(DeltaError) as raised:
        reader.finish()
    assert str(raised.value) == "[E408] delta must end where its plain bits end. Fetch it again"
