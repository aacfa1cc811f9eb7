"""A file that is cut, changed or made to hurt has no tensors, or sound ones; never an exception."""

import json
from itertools import pairwise

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl
from flatbuffers import Builder
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from safetensors.numpy import save
from tests import litert_side
from tests.runtimes.test_gguf_header import gguf, tensor

from edgeloop.delta import containers
from edgeloop.delta.containers import find, foreign, litert
from edgeloop.delta.layout import PIECES, Scales, Span

Q8 = 8


def of_onnx():
    held = {
        "w": np.ones((3, 5), np.int8), "s": np.ones(3, np.float32), "z": np.ones(3, np.int8),
    }  # fmt: skip
    constants = [numpy_helper.from_array(one, name) for name, one in held.items()]
    constants.append(helper.make_tensor("f", 1, [2], [1.0, 2.0]))
    node = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["r"], axis=0)
    graph = helper.make_graph([node], "g", [], [], constants)
    return helper.make_model(graph).SerializeToString()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.tflite"
    infos = [tensor("t", (32, 2), Q8), tensor("n", (4,), 0, offset=96)]
    return {
        "litert": litert_side.halves(path, form="int8").read_bytes(),
        "safetensors": save({"w": np.ones((3, 5), np.int8), "w_scale": np.ones(3, np.float32)}),
        "onnx": of_onnx(),
        "gguf": gguf(infos, data=96 + 16),
    }


def checked(content):
    """The tensors, which keep every promise of :func:`find`."""
    found = find(memoryview(content))
    for one in found:
        piece, size = PIECES[one.form]
        assert one.size * piece == int(np.prod(one.shape, dtype=object)) * size > 0
        assert 0 <= one.offset <= one.offset + one.size <= len(content)
        if one.scales:
            count, axis = one.scales.count, one.scales.axis
            assert count == (1 if axis is None else one.shape[axis])
            for place, width in ((one.scales.offset, 4), (one.scales.zeros, size)):
                assert place is None or 0 <= place <= place + width * count <= len(content)
    for one, other in pairwise(found):
        assert one.offset + one.size <= other.offset
    return found


NAMES = ("litert", "safetensors", "onnx", "gguf")


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_file_has_tensors(files, name):
    assert len(checked(files[name])) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_any_cut_and_any_flipped_bit_are_survived(files, name):
    whole = files[name]
    for place in range(len(whole)):
        checked(whole[:place])
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            checked(bytes(changed))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(NAMES), st.data())
def test_wilder_changes_are_survived(files, name, data):
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        many = data.draw(st.integers(0, 16))
        content[place : place + many] = data.draw(st.binary(max_size=16))
    checked(bytes(content))


@given(st.binary(max_size=64))
def test_bytes_that_are_no_container_have_no_tensors(content):
    assert find(memoryview(content)) == []


def safetensors_file(header, data=b"\0" * 64):
    told = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(told).to_bytes(8, "little") + told + data


def f32(shape, first, last):
    return {"dtype": "F32", "shape": shape, "data_offsets": [first, last]}


@pytest.mark.parametrize(
    "header",
    [
        {"w": f32([2**40, 2**40], 0, 64)},
        {"w": f32([16], 0, 68)},
        {"w": f32([-4, -4], 0, 64)},
        {"w": f32([16], 64, 0)},
        {"w": f32([2] * 5000, 0, 64)},
        {"w": f32([True], 0, 4)},
        {"w": {"dtype": ["F32"], "shape": {}, "data_offsets": None}},
        {"w": 7},
        {"w": f32([1] * 17, 0, 4)},
        b'{"w":' + b"[" * 100_000,
        b"{\xff}",
    ],
    ids=range(11),
)
def test_a_safetensors_header_that_lies_has_no_tensors(header):
    assert find(memoryview(safetensors_file(header))) == []


def test_of_tensors_that_overlap_the_first_is_kept():
    header = {"b": f32([8], 16, 48), "a": f32([8], 0, 32), "c": f32([4], 48, 64)}
    found = find(memoryview(safetensors_file(header)))
    assert [one.name for one in found] == ["a", "c"]


def test_scales_and_zero_points_that_are_not_known_before_their_tensor_are_left_out():
    def levels(name, offset, scales, zeros=None, count=1, axis=None):
        told = Scales(offset=scales, count=count, axis=axis, zeros=zeros)
        return Span(name=name, offset=offset, size=8, form="int8", shape=(8,), scales=told)

    def plain(name, offset, count):
        return Span(name=name, offset=offset, size=4 * count, form="float32", shape=(count,))

    told = [
        levels("in itself", 0, 4),
        levels("in one with scales", 8, 5),
        levels("zero in one with scales", 16, 24, zeros=15),
        plain("scale", 24, 1),
        levels("of a tensor", 28, 24, zeros=44),
        plain("many", 36, 2),
        levels("in a part", 45, 36),
        levels("between", 53, 61, zeros=65),
        levels("outside", 66, 149),
        levels("too few", 74, 82, count=2, axis=0),
        levels("no such axis", 90, 98, count=8, axis=1),
        levels("zeros with scales", 134, 100, zeros=28, count=8, axis=0),
    ]
    found = {one.name: one.scales for one in containers._sound(told, 150)}
    assert len(found) == len(told)
    assert [name for name, one in found.items() if one] == ["of a tensor", "between"]


def round_and_round(many):
    """Many graphs that are the same table, each of the same tensor many times."""
    builder = Builder(1024)
    tfl.TensorStart(builder)
    inner = tfl.TensorEnd(builder)
    tfl.SubGraphStartTensorsVector(builder, many)
    for _ in range(many):
        builder.PrependUOffsetTRelative(inner)
    tensors = builder.EndVector()
    tfl.SubGraphStart(builder)
    tfl.SubGraphAddTensors(builder, tensors)
    graph = tfl.SubGraphEnd(builder)
    tfl.ModelStartSubgraphsVector(builder, many)
    for _ in range(many):
        builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    tfl.BufferStart(builder)
    empty = tfl.BufferEnd(builder)
    tfl.ModelStartBuffersVector(builder, 1)
    builder.PrependUOffsetTRelative(empty)
    buffers = builder.EndVector()
    tfl.ModelStart(builder)
    tfl.ModelAddBuffers(builder, buffers)
    tfl.ModelAddSubgraphs(builder, graphs)
    builder.Finish(tfl.ModelEnd(builder), b"TFL3")
    return memoryview(bytes(builder.Output()))


def test_a_reader_that_is_sent_round_and_round_stops(monkeypatch):
    monkeypatch.setattr(foreign, "MOST_READS", 1 << 14)
    content = round_and_round(200)
    assert len(content) < 1 << 11
    with pytest.raises(foreign.BrokenError):
        litert.spans(content)
