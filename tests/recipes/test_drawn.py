"""Which training rows an epoch sees."""

import numpy as np
import pytest

from edgeloop.recipes.drawn import Drawn, chances

FRESH = np.arange(20) >= 17


def test_few_new_rows_are_drawn_as_often_as_stated():
    found = chances(FRESH, 0.4)
    assert found[FRESH].sum() == pytest.approx(0.4)
    assert found.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("fresh", [np.zeros(5, bool), np.ones(5, bool)])
def test_rows_of_one_sort_alone_have_no_chances(fresh):
    assert chances(fresh, 0.4) is None


def test_without_chances_each_row_is_seen_once_in_an_epoch():
    drawn, generator = Drawn(count=10), np.random.default_rng(7)
    first, second = (np.concatenate([*drawn.places(4, generator)]) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()


def test_with_chances_the_rows_of_an_epoch_are_drawn_by_them():
    drawn = Drawn(count=20, chance=chances(FRESH, 0.9))
    seen = np.concatenate([*drawn.places(5, np.random.default_rng(7))])
    assert FRESH[seen].mean() > 0.5


@pytest.mark.parametrize(("rows", "batches"), [(8, 2), (9, 2), (10, 3), (1, 1)])
def test_a_last_batch_of_one_row_is_left_out(rows, batches):
    drawn = Drawn(count=rows)
    assert drawn.batches(4) == batches
    assert len(list(drawn.places(4, np.random.default_rng(7)))) == batches
