"""Gaps are what tensors leave over; a tensor that is told alone has no place in the old files."""

import numpy as np

from edgeloop.delta.edits import Gaps


def spans(*told):
    return np.array(told, dtype=np.int64).reshape(-1, 2)


def test_a_tensor_without_a_place_in_the_old_files_takes_none_wherever_it_says_it_is():
    gaps = Gaps.between(spans((3, 5), (2, 2), (99, 99)), 8)
    assert list(gaps.pieces(0, 6)) == [(0, 3), (5, 3)]
