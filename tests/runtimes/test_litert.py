"""LiteRT behind the one protocol: rows, whole numbers with a scale, memory, and broken files."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest
from tests.litert_side import NAMED, SCALE, halves, model, pictures

from edgeloop.errors import InputMismatchError, MissingExtraError, ModelError
from edgeloop.runtimes import naming
from edgeloop.runtimes.litert import LiteRt
from edgeloop.types import AnswerSpec, Budget, Model, TensorSpec

pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed")
BROKEN = "It may be cut short: fetch it again, or convert the model anew"


def loaded(path: Path, **how):
    return LiteRt().load(model(halves(path, **how)), Budget())


def wakeword() -> Model:
    """A file that others made: int8 in, uint8 out, with variables that hold the sound so far."""
    spec = importlib.util.find_spec("pymicro_wakeword")
    path = Path(spec.submodule_search_locations[0]) / "models" / "hey_mycroft.tflite"
    named = naming.Naming(
        inputs={"sound": "input_audio"},
        outputs=(naming.Output(name="value", of="dense_1"),),
    )
    return Model(
        format="litert",
        answer=AnswerSpec(kind="number"),
        inputs=(TensorSpec(name="sound", dtype="float32", shape=(3, 40)),),
        files={"model.tflite": path},
        program=(naming.declared(named),),
    )


def sound(rows: int) -> np.ndarray:
    return np.random.default_rng(6).random((rows, 3, 40)).astype(np.float32) * 20


def test_a_graph_of_one_row_and_one_of_any_rows_give_the_same(tmp_path):
    rows = {"image": pictures(130)}  # more than go at once
    one = loaded(tmp_path / "one.tflite").run(rows)
    any_rows = loaded(tmp_path / "any.tflite", rows=-1).run(rows)
    assert one["label"].tolist() == [0, 1] * 65
    np.testing.assert_allclose(one["probabilities"], any_rows["probabilities"], atol=1e-6)


@pytest.mark.parametrize("rows", [1, -1])
def test_no_rows_give_no_answers(tmp_path, rows):
    found = loaded(tmp_path / "h.tflite", rows=rows).run({"image": pictures(4)[:0]})
    assert (found["probabilities"].shape, found["label"].shape) == ((0, 2), (0,))


def test_floats_go_into_whole_numbers_and_come_out_of_them(tmp_path):
    session = loaded(tmp_path / "h.tflite", form="int8")
    flat = np.zeros((1, 16), dtype=np.float32)
    flat[0, 0] = 1000.0  # beyond what int8 says: 127, which is 67.5
    logits = naming.Naming(outputs=(naming.Output(name="probabilities", of="logits"),))
    raw = LiteRt().load(model(tmp_path / "h.tflite", named=logits), Budget())
    assert raw.run({"image": flat})["probabilities"].tolist() == [[pytest.approx(0.68), 0.0]]
    assert session.run({"image": pictures(8)})["label"].tolist() == [0, 1] * 4
    low = np.full((1, 16), SCALE / 2 - 0.01, dtype=np.float32)  # rounds to nothing
    assert raw.run({"image": low})["probabilities"].tolist() == [[0.0, 0.0]]


def test_a_missing_number_is_no_whole_number(tmp_path):
    rows = pictures(2)
    rows[1, 3] = np.nan
    with pytest.raises(InputMismatchError) as caught:
        loaded(tmp_path / "h.tflite", form="int8").run({"image": rows})
    assert str(caught.value) == (
        "[E121] input 'image' must be finite: the graph takes int8, got NaN or infinity"
    )


def test_a_graph_that_keeps_variables_remembers_and_a_fresh_session_does_not():
    session = LiteRt().load(wakeword(), Budget())
    rows = {"sound": sound(40)}
    first = session.run(rows)["value"]
    again = session.run(rows)["value"]
    fresh = session.fresh().run(rows)["value"]
    assert first.shape == (40, 1)
    assert first.dtype == np.float32
    assert not np.array_equal(first, again)
    assert np.array_equal(first, fresh)
    in_turns = LiteRt().load(wakeword(), Budget())
    singly = [in_turns.run({"sound": row[None]})["value"] for row in rows["sound"]]
    assert np.array_equal(np.concatenate(singly), first)


def test_a_graph_without_variables_is_its_own_fresh_session(tmp_path):
    session = loaded(tmp_path / "h.tflite")
    assert session.fresh() is session


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: b"", "must be a TFLite file, got 0 bytes without b'TFL3'. " + BROKEN),
        (
            lambda data: data[:4] + b"PK34" + data[8:],
            "must be a TFLite file, got {} bytes without b'TFL3'. " + BROKEN,
        ),
        (
            lambda data: struct.pack("<I", 1 << 30) + data[4:],
            "must be a whole TFLite file, got {} bytes, with a table outside of them. " + BROKEN,
        ),
        (
            lambda data: data.replace(struct.pack("<f", SCALE), struct.pack("<f", np.nan)),
            "must have scales that are finite and not negative, got nan. " + BROKEN,
        ),
        (
            lambda data: data.replace(
                struct.pack("<3i", 2, 1, 16), struct.pack("<3i", 2, 1, 2**31 - 1)
            ),
            "must have tensors of 1073741824 bytes or fewer, got [1, 2147483647]. " + BROKEN,
        ),
        (
            lambda data: data.replace(struct.pack("<3i", 0, 1, -1), struct.pack("<3i", 0, 9, -1)),
            "must name tensors from 0 to 2, got 9. " + BROKEN,
        ),
        (  # no bias is well, no weight is not
            lambda data: data.replace(struct.pack("<3i", 0, 1, -1), struct.pack("<3i", 0, -1, -1)),
            "must name tensors from 0 to 2, got -1. " + BROKEN,
        ),
    ],
)
def test_a_file_that_would_harm_never_reaches_litert(tmp_path, monkeypatch, change, said):
    path = halves(tmp_path / "h.tflite", form="int8")
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    assert path.read_bytes() != whole
    monkeypatch.setattr("edgeloop.runtimes.litert._opened", lambda *_: pytest.fail("reached it"))
    with pytest.raises(ModelError) as caught:
        LiteRt().load(model(path), Budget())
    assert str(caught.value) == "[E120] model file model.tflite " + said.format(len(whole))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "model.tflite"
    data = wakeword().files["model.tflite"].read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=r"\[E120\] model file model.tflite must be a whole "):
        LiteRt().load(model(path), Budget())


def test_a_graph_of_several_rows_at_once_is_refused(tmp_path):
    with pytest.raises(ModelError) as caught:
        loaded(tmp_path / "h.tflite", rows=3)
    assert str(caught.value) == (
        "[E120] input image of model.tflite must take one row, or any number, got shape [3, 16]. "
        "Convert the model with a batch of 1"
    )


def test_inputs_are_those_that_the_model_states(tmp_path):
    path = halves(tmp_path / "h.tflite")
    other = TensorSpec(name="picture", dtype="uint8", shape=(4, 4))
    with pytest.raises(ModelError) as caught:
        LiteRt().load(Model(**{**vars(model(path)), "inputs": (other,)}), Budget())
    assert str(caught.value) == (
        "[E120] inputs of model.tflite must be picture uint8[4, 4], got image float32[16]"
    )


def test_an_output_is_made_of_one_that_is_there(tmp_path):
    named = naming.Naming(outputs=(naming.Output(name="value", of="dense"),))
    session = LiteRt().load(model(halves(tmp_path / "h.tflite"), named=named), Budget())
    with pytest.raises(ModelError) as caught:
        session.run({"image": pictures(1)})
    assert str(caught.value) == (
        "[E120] output 'value' of the model must be made of one that is there: logits, got dense"
    )


def test_the_step_graph_knows_its_parameters(tmp_path):
    wrong = Model(
        **{**vars(model(halves(tmp_path / "h.tflite"))), "program": ({"step": "graph", "a": 1},)}
    )
    with pytest.raises(ModelError) as caught:
        LiteRt().load(wrong, Budget())
    assert str(caught.value) == (
        "[E120] a of step 'graph' of the program Unexpected keyword argument, got 1"
    )


def test_one_share_becomes_two(tmp_path):
    named = naming.Naming(outputs=(naming.Output(name="pair", of="one", how="both"),))
    found = named.apply({"one": np.array([[0.25], [1.0]], dtype=np.float32)})
    assert found["pair"].tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert NAMED.outputs[1].how == "largest"


def test_without_litert_it_says_what_to_install(tmp_path, monkeypatch):
    path = halves(tmp_path / "h.tflite")
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError) as caught:
        LiteRt().load(model(path), Budget())
    assert str(caught.value) == (
        "[E701] ai-edge-litert must be installed to run a TFLite graph. "
        "pip install 'edgeloop[litert]'"
    )
