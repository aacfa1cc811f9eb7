"""Every runtime takes the inputs that a model states and nothing else; broken files are named."""

import dataclasses
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeloop.errors import InputMismatchError, ModelError
from edgeloop.runtimes.onnx import OnnxRuntime
from edgeloop.types import Budget, TensorSpec

IMAGE = np.zeros((2, 12, 12), dtype=np.uint8)


@pytest.mark.parametrize("form", ["torch_model", "onnx_model", "int8_model"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"picture": IMAGE}, "[E121] inputs must be image, got picture"),
        ({}, "[E121] inputs must be image, got none"),
        ({"image": IMAGE, "more": IMAGE}, "[E121] inputs must be image, got image, more"),
        (
            {"image": IMAGE.astype(np.float32)},
            (
                "[E121] input 'image' must be uint8[n, 12, 12], got float32[2, 12, 12]. "
                "The first axis is the number of rows"
            ),
        ),
        (
            {"image": IMAGE[0]},
            (
                "[E121] input 'image' must be uint8[n, 12, 12], got uint8[12, 12]. "
                "The first axis is the number of rows"
            ),
        ),
    ],
)
def test_inputs_that_do_not_fit_are_named(form, given, message, request, workplace):
    session = workplace().session(request.getfixturevalue(form))
    with pytest.raises(InputMismatchError) as caught:
        session.run(given)
    assert str(caught.value) == message


@pytest.mark.parametrize("form", ["torch_model", "onnx_model", "int8_model"])
def test_every_form_gives_the_outputs_of_its_answer_kind(form, request, workplace):
    answers = workplace().session(request.getfixturevalue(form)).run({"image": IMAGE})
    assert answers["probabilities"].shape == (2, 3)
    assert answers["probabilities"].dtype == np.float32
    assert answers["label"].dtype == np.int64


@pytest.mark.parametrize("cut", [0, 50, 1000])
def test_a_broken_graph_is_named(onnx_model, workplace, tmp_path, cut):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_model.files["model.onnx"].read_bytes()[:cut])
    with pytest.raises(ModelError) as caught:
        workplace().session(dataclasses.replace(onnx_model, files={path.name: path}))
    text = str(caught.value)
    assert text.startswith("[E120] model file model.onnx must be a whole ONNX graph")
    assert text.endswith(
        ". It may be cut short, need files beside it, or use operators of another domain"
    )


def test_a_graph_with_other_inputs_than_the_model_states_is_refused(onnx_model, workplace):
    other = TensorSpec(name="image", dtype="uint8", shape=(28, 28))
    with pytest.raises(ModelError) as caught:
        workplace().session(dataclasses.replace(onnx_model, inputs=(other,)))
    assert str(caught.value) == (
        "[E120] inputs of model.onnx must be image uint8[28, 28], got image uint8[12, 12]"
    )


def graph_that_reads(place: str) -> bytes:
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", place
    body = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["probabilities"])],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 4])],
        [helper.make_tensor_value_info("probabilities", 1, ["n", 4])],
        [tensor],
    )
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


@pytest.mark.parametrize("place", ["secret.bin", "../{name}/secret.bin", "{folder}/secret.bin"])
def test_a_graph_cannot_read_other_files_of_the_device(
    onnx_model, workplace, tmp_path, monkeypatch, place
):
    (tmp_path / "secret.bin").write_bytes(np.ones(4, dtype=np.float32).tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(graph_that_reads(place.format(name=tmp_path.name, folder=tmp_path)))
    monkeypatch.chdir(tmp_path)
    inputs = (TensorSpec(name="x", dtype="float32", shape=(4,)),)
    with pytest.raises(ModelError, match="must be a whole ONNX graph"):
        workplace().session(dataclasses.replace(onnx_model, files={path.name: path}, inputs=inputs))


def test_an_operator_of_an_unknown_domain_is_refused(onnx_model, workplace, tmp_path):
    graph = onnx.load(str(onnx_model.files["model.onnx"]))
    graph.opset_import.append(helper.make_opsetid("acme", 1))
    graph.graph.node[-1].domain = "acme"
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match="acme"):
        workplace().session(dataclasses.replace(onnx_model, files={path.name: path}))


def test_a_torch_model_without_a_recipe_is_refused(torch_model, workplace):
    with pytest.raises(ModelError) as caught:
        workplace().session(dataclasses.replace(torch_model, recipe=""))
    assert str(caught.value) == (
        "[E120] torch model must name the recipe that rebuilds it, got none"
    )


def test_loading_every_plugin_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from edgeloop.plugins import KINDS, load\n"
        "for kind in KINDS: load(kind)\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'mlflow', 'pandas', 'scipy', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_a_graph_runs_on_the_accelerator_that_is_asked_for_or_not_at_all(onnx_model, workplace):
    assert "cpu" in OnnxRuntime.accelerators()
    assert workplace().session(onnx_model, Budget(accelerator="cpu")).run({"image": IMAGE})
    with pytest.raises(ModelError) as caught:
        workplace().session(onnx_model, Budget(accelerator="tpu9"))
    known = ", ".join(sorted(OnnxRuntime.accelerators()))
    assert str(caught.value) == (
        f"[E120] accelerator tpu9 must be one that ONNX Runtime has here, got {known}"
    )
