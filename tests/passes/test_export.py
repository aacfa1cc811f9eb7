"""The exported graph answers as torch does, and its bytes tell nothing else."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

from edgeloop.errors import ModelError
from edgeloop.passes.export_onnx import ExportOnnx
from edgeloop.passes.onnx_file import strip


def test_the_graph_gives_what_torch_gives_for_any_number_of_rows(
    torch_model, onnx_model, snapshot, workplace
):
    one, other = (workplace().session(model) for model in (torch_model, onnx_model))
    for rows in (1, 2, 17):
        feed = {"image": snapshot.column("image", "test")[:rows]}
        want, got = one.run(feed), other.run(feed)
        assert np.allclose(want["probabilities"], got["probabilities"], atol=1e-5)
        assert want["label"].tolist() == got["label"].tolist()


def test_raw_pixels_go_in_and_probabilities_and_label_come_out(onnx_model):
    graph = onnx.load(str(onnx_model.files["model.onnx"])).graph
    (pixels,) = graph.input
    assert pixels.name == "image"
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [output.name for output in graph.output] == ["probabilities", "label"]


def test_the_same_weights_give_the_same_bytes_in_another_folder_and_process(
    torch_model, onnx_model, snapshot, tmp_path
):
    script = (
        "import json, pathlib, sys\n"
        "from edgeloop.passes.export_onnx import ExportOnnx\n"
        "from edgeloop.plugins import Context\n"
        "from edgeloop.types import Model, Snapshot\n"
        "given = json.loads(sys.stdin.read())\n"
        "paths = lambda files: {n: pathlib.Path(p) for n, p in files.items()}\n"
        "model = Model.from_meta(given['model'], paths(given['files']))\n"
        "rows = Snapshot.from_meta(given['rows'], paths(given['shards']))\n"
        "ExportOnnx().run(model, Context(scratch=pathlib.Path('.'), snapshot=rows))\n"
    )
    import json

    given = {
        "model": torch_model.to_meta(),
        "files": {name: str(path) for name, path in torch_model.files.items()},
        "rows": snapshot.to_meta(),
        "shards": {name: str(path) for name, path in snapshot.files.items()},
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(given),
        text=True,
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    assert (tmp_path / "model.onnx").read_bytes() == onnx_model.files["model.onnx"].read_bytes()


def test_nothing_that_the_exporter_leaves_stays_in_the_file(onnx_model):
    data = onnx_model.files["model.onnx"].read_bytes()
    for trace in (b".py", b"File ", b"torch.nn", b"stack_trace", b"pkg.torch", b"edgeloop"):
        assert trace not in data


def test_stripping_reaches_every_message_of_a_graph():
    graph = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[n] x) => (float[n] y) { y = Neg(x) }'
    )
    for part in (graph, graph.graph, graph.graph.node[0], graph.graph.input[0]):
        part.doc_string = "made at home"
        part.metadata_props.add(key="where", value="here")
    assert b"home" not in strip(graph).SerializeToString()
    assert b"here" not in graph.SerializeToString()


def test_a_model_that_is_no_torch_model_is_not_exported(onnx_model, snapshot, workplace):
    with pytest.raises(ModelError) as caught:
        ExportOnnx().run(onnx_model, workplace(snapshot=snapshot))
    assert str(caught.value) == (
        "[E120] export_onnx must be given a torch model, got onnx. "
        "Place it right behind the recipe and the passes that keep weights"
    )


def test_a_graph_that_answers_otherwise_is_not_passed_on(
    torch_model, snapshot, workplace, monkeypatch
):
    other = ExportOnnx._graph

    def wrong(self, net, model, rows):
        graph = other(self, net, model, rows)
        for tensor in graph.graph.initializer:
            if tensor.name == "head.bias":
                tensor.raw_data = np.array([9, 0, 0], dtype=np.float32).tobytes()
        return graph

    monkeypatch.setattr(ExportOnnx, "_graph", wrong)
    with pytest.raises(ModelError, match=r"must answer as torch does within 0.0001, got \d of 8"):
        ExportOnnx().run(torch_model, workplace(snapshot=snapshot))
