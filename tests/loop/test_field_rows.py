"""In which order the field's rows lie, and that a key tells a training's threads."""

import numpy as np

from edgeloop.checks.accuracy import Accuracy
from edgeloop.loop.close import _in_time
from edgeloop.loop.keys import made_by


def test_a_key_tells_how_many_threads_a_training_had(tmp_path):
    one, same, two = (
        made_by("check", Accuracy(), parents=(), seed=1, folder=tmp_path, threads=threads).key
        for threads in (1, 1, 2)
    )
    assert one == same != two


def test_rows_from_the_field_lie_device_by_device_in_time_each_time_once():
    times = np.array(["2026-01-02", "2026-01-01", "2026-01-01", "2026-01-02"], "datetime64[s]")
    order = _in_time(["b", "b", "a", "b"], {"time": times})
    assert order.tolist() == [2, 1, 0]
    assert _in_time(["b", "a"], {"size": np.ones(2)}).tolist() == [0, 1]
