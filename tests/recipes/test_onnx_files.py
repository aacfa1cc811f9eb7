"""A graph of one's own gets the outputs of its answer kind, or is refused with the reason."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeloop.data.snapshot import write
from edgeloop.errors import ModelError
from edgeloop.recipes.onnx_file import OnnxFile
from edgeloop.types import AnswerSpec

WEIGHTS = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]], dtype=np.float32)


def graph(
    output: str = "scores", *, softmax: bool = False, label: bool = False, domain: str = ""
) -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["raw" if softmax else output])]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["raw"], [output]))
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", 3])]
    if label:
        nodes.append(helper.make_node("ArgMax", [output], ["best"], axis=1, keepdims=0))
        outputs.append(helper.make_tensor_value_info("best", TensorProto.INT64, ["n"]))
    body = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        outputs,
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(body, opset_imports=opsets, ir_version=8)


@pytest.fixture
def rows(tmp_path):
    x = np.array([[1, 0], [0, 1], [2, 1]], dtype=np.float32)
    return write(
        name="own",
        inputs={"x": x},
        target=("label", np.array([2, 1, 2])),
        answer=AnswerSpec(kind="label", params={"classes": ["a", "b", "c"]}),
        scratch=tmp_path,
        provenance={},
    )


@pytest.fixture
def build(rows, tmp_path, workplace):
    def of(model: onnx.ModelProto | bytes, **fields):
        data = model if isinstance(model, bytes) else model.SerializeToString()
        (tmp_path / "own.onnx").write_bytes(data)
        context = dataclasses.replace(workplace(snapshot=rows), folder=tmp_path)
        return OnnxFile(file=Path("own.onnx"), **fields).build(rows, context)

    return of


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (graph(), {"logits": True}),
        (graph("probabilities", softmax=True), {}),
        (graph("label", softmax=True), {}),
        (graph(softmax=True, label=True), {"label": "best"}),
        (graph("label", softmax=True, label=True), {"probabilities": "label", "label": "best"}),
    ],
)
def test_every_graph_gets_probabilities_and_label(build, rows, workplace, model, fields):
    answers = workplace().session(build(model, **fields)).run(rows.feed())
    raw = np.exp(rows.feed()["x"] @ WEIGHTS)
    want = raw / raw.sum(axis=1, keepdims=True)
    assert list(answers) == ["probabilities", "label"]
    assert np.allclose(answers["probabilities"], want, atol=1e-6)
    assert answers["label"].dtype == np.int64
    assert answers["label"].tolist() == want.argmax(axis=1).tolist()


def test_a_changed_file_changes_the_digest_of_the_recipes_inputs(build, tmp_path):
    recipe = OnnxFile(file=Path("own.onnx"))
    build(graph(), logits=True)
    before = recipe.inputs_digest(tmp_path)
    build(graph(softmax=True))
    assert recipe.inputs_digest(tmp_path) != before


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        (
            graph(),
            {},
            (
                "[E120] model file own.onnx must give probabilities that sum to 1, got 3. "
                "Set recipe.logits: true when the output is logits"
            ),
        ),
        (
            graph(),
            {"probabilities": "other"},
            "[E120] model file own.onnx must have the output 'other', got scores",
        ),
        (
            graph(domain="acme"),
            {},
            (
                "[E120] model file own.onnx must use operators of '', 'ai.onnx', 'ai.onnx.ml', "
                "'com.microsoft' only, got acme. A device loads no library of custom operators"
            ),
        ),
    ],
)
def test_a_graph_that_does_not_answer_is_refused(build, model, fields, message):
    with pytest.raises(ModelError) as caught:
        build(model, **fields)
    assert str(caught.value) == message


@pytest.mark.parametrize("cut", [0, 10, 100])
def test_a_file_that_is_no_graph_is_named(build, cut):
    with pytest.raises(ModelError) as caught:
        build(graph().SerializeToString()[:cut])
    assert str(caught.value).startswith("[E120] model file own.onnx must be a whole ONNX graph")


def test_a_graph_of_other_classes_is_refused(build, rows, workplace, tmp_path):
    build(graph(softmax=True))
    answer = AnswerSpec(kind="label", params={"classes": ["a", "b"]})
    with pytest.raises(ModelError) as caught:
        OnnxFile(file=tmp_path / "own.onnx").build(
            dataclasses.replace(rows, answer=answer), workplace()
        )
    assert str(caught.value) == (
        "[E120] model file own.onnx must answer one row with 2 probabilities, got shape [1, 3]"
    )


def test_a_graph_that_keeps_tensors_in_other_files_is_refused(build, tmp_path):
    model = graph(softmax=True)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    place = tensor.external_data.add()
    place.key, place.value = "location", "weights.bin"
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(ModelError) as caught:
        build(model)
    assert str(caught.value) == (
        "[E120] model file own.onnx must hold all of its tensors, got 1 in other files. "
        "Save it as one file: onnx.save(onnx.load(path), path)"
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError) as caught:
        OnnxFile(file=Path("own.onnx")).inputs_digest(tmp_path)
    assert str(caught.value) == (
        "[E120] model file own.onnx must be readable, got No such file or directory. "
        "It is relative to the loop file"
    )
