"""Small model files of any tensors, made on the spot, in each container that is known."""

import json
import struct

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper

KINDS = ("float32", "float16", "bfloat16", "int8", "uint8", "int32", "int64")
NAMES = ("F32", "F16", "BF16", "I8", "U8", "I32", "I64")
GGUF = {"float32": 0, "float16": 1, "int8": 24, "int32": 26, "int64": 27, "bfloat16": 30}
BLOCKS = {  # number of the form, numbers and bytes of a block
    "q4_0": (2, 32, 18), "q4_1": (3, 32, 20), "q8_0": (8, 32, 34), "q4_k": (12, 256, 144),
    "q6_k": (14, 256, 210),
}  # fmt: skip
ALIGNED = 32


def dtype(kind):
    return np.dtype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)


def safetensors(tensors):
    """``tensors``: name -> (kind, shape, bytes)."""
    told, place = {}, 0
    for name, (kind, shape, data) in tensors.items():
        ends = [place, place + len(data)]
        told[name] = {"dtype": NAMES[KINDS.index(kind)], "shape": shape, "data_offsets": ends}
        place = ends[1]
    header = json.dumps(told).encode()
    parts = [struct.pack("<Q", len(header)), header, *(one[2] for one in tensors.values())]
    return b"".join(parts)


def gguf(tensors):
    """Blocks of a form of GGUF too."""
    infos, body = b"", b""
    for name, (kind, shape, data) in tensors.items():
        if kind not in GGUF and kind not in BLOCKS:
            continue
        number = GGUF[kind] if kind in GGUF else BLOCKS[kind][0]
        said = name.encode()
        infos += struct.pack("<Q", len(said)) + said + struct.pack("<I", len(shape))
        infos += b"".join(struct.pack("<Q", side) for side in reversed(shape))
        infos += struct.pack("<IQ", number, len(body))
        body += data + bytes(-len(data) % ALIGNED)
    kept = sum(kind in GGUF or kind in BLOCKS for kind, _, _ in tensors.values())
    start = b"GGUF" + struct.pack("<IQQ", 3, kept, 0) + infos
    return start + bytes(-len(start) % ALIGNED) + body


def onnx(tensors):
    """Each tensor of levels with scales, if ``name_scale`` and ``name_zero`` are there."""
    held = {
        name: np.frombuffer(data, dtype(kind)).reshape(shape)
        for name, (kind, shape, data) in tensors.items()
    }
    nodes = [
        helper.make_node(
            "DequantizeLinear",
            [name, f"{name}_scale", *([f"{name}_zero"] if f"{name}_zero" in held else [])],
            [f"{name}_real"], axis=0,
        )
        for name in held if f"{name}_scale" in held
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    kept = [numpy_helper.from_array(one, name) for name, one in held.items()]
    nodes.append(helper.make_node("Identity", ["x"], ["y"]))
    graph = helper.make_graph(nodes, "any", ends[:1], ends[1:], initializer=kept)
    return helper.make_model(graph).SerializeToString()
