"""A model is asked once in a run for its answers to the held-out rows."""

import numpy as np

from edgeloop.checks.accuracy import Accuracy
from edgeloop.checks.held_out import held_out
from edgeloop.checks.worst_class import WorstClass
from edgeloop.plugins import Context


def test_a_run_asks_a_model_once_for_its_answers_to_held_out_rows(
    onnx_model, snapshot, workplace, monkeypatch
):
    asked = []
    session = Context.session
    monkeypatch.setattr(Context, "session", lambda *given: asked.append(1) or session(*given))
    one = workplace(snapshot=snapshot)
    Accuracy().run(onnx_model, one)
    WorstClass().run(onnx_model, one)
    assert len(asked) == 1
    rows = held_out(onnx_model, one)
    some = rows.taken(np.array([2, 0])).answers(onnx_model, one)
    assert np.array_equal(some["label"], rows.answers(onnx_model, one)["label"][[2, 0]])
    Accuracy().run(onnx_model, workplace(snapshot=snapshot))  # another run
    assert len(asked) == 2
