"""What is found in a LiteRT file is what its own library reads from it."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl
from flatbuffers import Builder
from tests import litert_side
from tests.delta.reading import named, numbers, of, reals

from edgeloop.delta.layout import Scales

WAKE_WORDS = Path(find_spec("pymicro_wakeword").origin).parent / "models"


@pytest.mark.parametrize("path", sorted(WAKE_WORDS.glob("*.tflite")), ids=lambda one: one.stem)
def test_the_tensors_of_a_litert_file_are_what_its_own_tables_say(path):
    content = path.read_bytes()
    model = tfl.ModelT.InitFromPackedBuf(content)
    kinds = {tfl.TensorType.INT8: "int8", tfl.TensorType.INT32: "int32"}
    found = named(content)
    checked = 0
    for one in (each for graph in model.subgraphs for each in graph.tensors):
        span, data = found.get(one.name.decode()), model.buffers[one.buffer].data
        if span is None or data is None or one.type not in kinds:
            continue
        assert (span.form, span.shape) == (kinds[one.type], tuple(map(int, one.shape)))
        assert content[span.offset : span.offset + span.size] == bytes(data)
        if span.scales is not None:
            told = of(content, span.scales.offset, span.scales.count)
            np.testing.assert_array_equal(told, one.quantization.scale)
            assert len(told) == 1 or span.scales.axis == one.quantization.quantizedDimension
            checked += 1
    assert checked >= 19


@pytest.mark.parametrize(
    ("form", "zero"), [("float32", 0), ("int8", 0), ("int8", -5), ("uint8", 3)]
)
def test_a_litert_interpreter_reads_the_weights_that_are_found(tmp_path, monkeypatch, form, zero):
    from ai_edge_litert.interpreter import Interpreter

    if form != "float32":
        picture, _, logits = litert_side.SCALES[form]
        monkeypatch.setitem(litert_side.SCALES, form, (picture, (1e-4, zero), logits))
    content = litert_side.halves(tmp_path / "model.tflite", form=form).read_bytes()
    interpreter = Interpreter(model_content=content)
    (one,) = (one for one in interpreter.get_tensor_details() if one["name"] == "weight")
    interpreter.allocate_tensors()
    span, held = named(content)["weight"], interpreter.get_tensor(one["index"])
    np.testing.assert_array_equal(numbers(content, span), held)
    if form != "float32":
        scale, zero = one["quantization"]
        np.testing.assert_array_equal(reals(content, span), (held - float(zero)) * scale)


@pytest.fixture
def model(tmp_path):
    """A graph whose weights are int8[2, 16]."""
    return tfl.ModelT.InitFromPackedBuf(
        litert_side.halves(tmp_path / "model.tflite", form="int8").read_bytes()
    )


def packed(model):
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(("zeros", "axis"), [([0, 0], 0), ([], 0), ([1, 0], None)])
def test_a_scale_for_each_row_counts_where_zero_is_zero(model, zeros, axis):
    told = model.subgraphs[0].tensors[1].quantization
    told.scale, told.zeroPoint, told.quantizedDimension = [0.5, 0.25], zeros, 0
    content = packed(model)
    found = named(content)
    if axis is None:
        assert found["weight"].scales is None
        return
    place = found["weight:scales"].offset
    assert found["weight"].scales == Scales(offset=place, count=2, axis=axis)
    np.testing.assert_array_equal(of(content, place, 2), [0.5, 0.25])


def test_a_scale_belongs_to_the_axis_that_the_file_names(model):
    weight = model.subgraphs[0].tensors[1]
    weight.quantization.scale = [0.5, 0.25, 1.0, 2.0]
    weight.shape, weight.quantization.zeroPoint = [4, 2, 4], []
    weight.quantization.quantizedDimension = 2
    assert named(packed(model))["weight"].scales.axis == 2


def test_a_sparse_tensor_is_a_row_of_the_numbers_that_it_holds(model):
    weight = model.subgraphs[0].tensors[1]
    weight.shape, weight.sparsity = [20, 16], tfl.SparsityParametersT()
    assert named(packed(model))["weight"].shape == (32,)


def test_a_buffer_behind_the_tables_is_found(model):
    held = model.buffers[1]
    data, held.data = bytes(held.data), None
    held.offset, held.size = 4096, len(data)
    content = packed(model).ljust(4096, b"\0") + data
    span = named(content)["weight"]
    assert (span.offset, span.size) == (4096, 32)
