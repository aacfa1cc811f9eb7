"""``init --from``: a loop file that runs, or the reason why model and sample do not fit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from edgeloop.cli.main import app
from edgeloop.errors import EdgeloopError
from edgeloop.loop.file import load_loop
from edgeloop.loop.runner import run_loop
from edgeloop.store.artifacts import Store

WEIGHTS = np.array([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]], dtype=np.float32)
TRUTH = np.arange(90) % 3
ROWS = np.eye(3, dtype=np.float32)[TRUTH]


def model(folder: Path, *, softmax: bool = True) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["raw"])]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["raw"], ["scores"]))
    name = "scores" if softmax else "raw"
    given, out = (
        helper.make_tensor_value_info(one, TensorProto.FLOAT, ["n", 3]) for one in ("x", name)
    )
    weights = numpy_helper.from_array(WEIGHTS, "w")
    body = helper.make_graph(nodes, "g", [given], [out], [weights])
    whole = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(whole, folder / "own.onnx")
    return folder / "own.onnx"


def sample(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "few.npz", **arrays)
    return folder / "few.npz"


def init(folder: Path, own: Path, few: Path) -> Path:
    line = ["init", str(folder / "new"), "--from", str(own), "--data", str(few)]
    raised = CliRunner().invoke(app, line).exception
    if isinstance(raised, EdgeloopError):
        raise raised
    return folder / "new" / "loop.yaml"


@pytest.mark.parametrize(
    ("softmax", "arrays", "said"),
    [
        (True, {"x": ROWS, "truth": TRUTH}, {}),
        (True, {"x": ROWS, "digit": TRUTH}, {"target": "digit"}),
        (False, {"x": ROWS, "truth": TRUTH}, {"logits": True}),
    ],
)
def test_the_loop_file_says_what_the_files_show_and_releases(tmp_path, softmax, arrays, said):
    path = init(tmp_path, model(tmp_path, softmax=softmax), sample(tmp_path, **arrays))
    content = yaml.safe_load(path.read_text())
    told = {**content["data"]["source"], **content["recipe"]}
    fixed = {"use": "onnx_file", "file": "own.onnx"}
    fixed["answer"] = {"kind": "label", "classes": ["0", "1", "2"]}
    assert told == {**fixed, **said}
    loop = load_loop(path)
    assert run_loop(loop, Store(loop.path(loop.settings.store))).release.version == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": ROWS.astype(np.float64), "truth": TRUTH},
            "[E110] input 'x' of snapshot few must be float32[n, 3], as own.onnx takes it, got"
            " float64[n, 3]. Convert the data: values.astype('float32')",
        ),
        (
            {"x": ROWS[:, :2], "truth": TRUTH},
            "[E110] input 'x' of snapshot few must be float32[n, 3], as own.onnx takes it, got"
            " float32[n, 2]. Convert the data: values.reshape(...)",
        ),
        (
            {"image": ROWS, "truth": TRUTH},
            "[E110] file few.npz must hold the model's inputs (x) and one array more, the truth,"
            " got image, truth. Name each array as the model names its input:"
            " numpy.savez(file, <input>=...)",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, arrays, message):
    with pytest.raises(EdgeloopError) as raised:
        init(tmp_path, model(tmp_path), sample(tmp_path, **arrays))
    assert str(raised.value) == message
    assert not (tmp_path / "new").exists()


def test_a_class_that_the_model_does_not_have_is_refused(tmp_path):
    few = sample(tmp_path, x=ROWS, truth=TRUTH + 1)
    with pytest.raises(EdgeloopError) as raised:
        init(tmp_path, model(tmp_path), few)
    assert "must hold whole numbers from 0 to 2" in str(raised.value)


def test_a_sample_that_is_none_is_refused(tmp_path):
    few = tmp_path / "few.npz"
    few.write_text("hello")
    with pytest.raises(EdgeloopError) as raised:
        init(tmp_path, model(tmp_path), few)
    assert str(raised.value) == (
        "[E110] file few.npz must be an .npz file of plain numbers, got File is not a zip file."
        " Write it with numpy.savez(file, <input>=..., truth=...)"
    )


def test_without_what_looking_takes_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from pathlib import Path\n"
        "from edgeloop.loop.start import write_loop\n"
        "write_loop(Path('new'), model=Path('own.onnx'), data=Path('few.npz'))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.stderr.splitlines()[-1] == (
        "edgeloop.errors.MissingExtraError: [E701] onnx must be installed to look at both files."
        " pip install 'edgeloop[train]'"
    )
