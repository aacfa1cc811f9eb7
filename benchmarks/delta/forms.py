"""A network as the bytes of a model file in each form, and how good such a file is.

int8 is made by ONNX Runtime's static quantization with the settings of the pass ``quantize``:
QDQ nodes, ranges measured on rows that the network was trained on.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from safetensors.torch import load, save
from torch import Tensor, nn

from delta import nets
from delta.sources import WINDOW, Array, Data
from edgeloop.passes.onnx_file import strip
from edgeloop.passes.quantize import BATCH, WHOLE

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BLOCKS = {"q8_0": "Q8_0", "q4_0": "Q4_0"}  # as gguf calls them
CALIBRATE = 256  # rows
OPSET = 20
TRIED = 2  # rows that the exporter follows through the graph
WIDTH = {"fp32": 4, "fp32 onnx": 4, "fp16": 2, "bf16": 2, "q8_0": 34, "q4_0": 18}  # else 1
Ask = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor's bytes lie in a file; ``width`` bytes are one number, or one block."""

    name: str
    offset: int
    size: int
    width: int


def written(form: str, net: nn.Module, data: Data) -> bytes:
    """The bytes of the model file."""
    if form in DTYPES:
        return _safetensors(net, DTYPES[form])
    if form in BLOCKS:
        return _gguf(net, BLOCKS[form])
    graph = _graph(net, data)
    if form.startswith("int8"):
        graph = _int8(graph, data, per_channel=form == "int8 per channel")
    return bytes(strip(graph).SerializeToString(deterministic=True))


def score(form: str, file: bytes, net: nn.Module, data: Data) -> float:
    """Share of rows answered right; of a text, the perplexity per letter. By the file itself.

    ``net`` gives the shape alone: its weights are overwritten.
    """
    asked, true = nets.test_rows(data)
    ask = _torch_of(form, file, net) if form in DTYPES or form in BLOCKS else _session(file)
    answers = np.concatenate([ask(asked[at : at + BATCH]) for at in range(0, len(asked), BATCH)])
    if len(data.test_y):
        return float((answers.argmax(1) == true).mean())
    likely = torch.from_numpy(answers).flatten(0, 1)
    loss = nn.functional.cross_entropy(likely, torch.from_numpy(true).flatten())
    return float(loss.exp())


def _safetensors(net: nn.Module, dtype: torch.dtype) -> bytes:
    def told(value: Tensor) -> Tensor:
        return value.to(dtype) if value.is_floating_point() else value

    return bytes(save({name: told(value) for name, value in net.state_dict().items()}))


def _gguf(net: nn.Module, name_of_kind: str) -> bytes:
    """Matrices in blocks, everything else float32: as llama.cpp's converters do."""
    import gguf

    kind = gguf.GGMLQuantizationType[name_of_kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, "letters")
        for name, value in net.state_dict().items():
            numbers = value.numpy()
            if numbers.ndim > 1:
                writer.add_tensor(name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)
            else:
                writer.add_tensor(name, numbers)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _graph(net: nn.Module, data: Data) -> onnx.ModelProto:
    rows = torch.from_numpy(_inputs(data)[:TRIED])
    with _quiet():
        program = torch.onnx.export(
            net,
            (rows,),
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no graph")
    return program.model_proto


def _int8(graph: onnx.ModelProto, data: Data, *, per_channel: bool) -> onnx.ModelProto:
    rows = _inputs(data)[:CALIBRATE]
    batches = iter([{"x": rows[at : at + BATCH]} for at in range(0, len(rows), BATCH)])
    with tempfile.TemporaryDirectory() as folder, _quiet():
        whole, made = Path(folder) / "whole.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, str(whole))
        quantize_static(
            str(whole),
            str(made),
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(WHOLE),
            per_channel=per_channel,
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(str(made))


class _Reader:
    """Gives the calibrator its batches."""

    def __init__(self, batches: Iterator[Mapping[str, Array]]) -> None:
        self._batches = batches

    def get_next(self) -> Mapping[str, Array] | None:
        """The next batch, or None."""
        return next(self._batches, None)


def _inputs(data: Data) -> Array:
    """Rows that were trained on, as the network takes them."""
    if len(data.y):
        return data.x
    count = min(len(data.x) // WINDOW, CALIBRATE)
    return data.x[: count * WINDOW].reshape(count, WINDOW)


def _torch_of(form: str, file: bytes, net: nn.Module) -> Ask:
    net.load_state_dict(_state_of(file) if form in BLOCKS else load(file))

    def ask(rows: Array) -> Array:
        with torch.no_grad():
            return net.float()(torch.from_numpy(rows)).numpy()

    return ask


def _state_of(file: bytes) -> dict[str, Tensor]:
    """Every tensor of a GGUF file as float32."""
    import gguf

    return {
        one.name: torch.from_numpy(
            gguf.quants.dequantize(one.data, one.tensor_type)
            .reshape(tuple(int(side) for side in reversed(one.shape)))
            .copy()
        )
        for one in _gguf_tensors(file)
    }


def _gguf_tensors(file: bytes) -> list[Any]:
    import gguf

    with tempfile.NamedTemporaryFile(suffix=".gguf") as kept:
        kept.write(file)
        kept.flush()
        return list(gguf.GGUFReader(kept.name).tensors)


def _session(file: bytes) -> Ask:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def ask(rows: Array) -> Array:
        answers: Array = session.run(None, {"x": rows})[0]
        return answers

    return ask


def places(form: str, file: bytes) -> tuple[Place, ...]:
    """Where the tensors lie, as each container's own library or header tells."""
    if form in DTYPES:
        found = _in_safetensors(file)
    elif form in BLOCKS:
        found = [(t.name, int(t.data_offset), int(t.n_bytes)) for t in _gguf_tensors(file)]
    else:
        found = list(_in_onnx(file))
    width = WIDTH.get(form, 1)
    told = partial(_place, width)
    return tuple(told(*one) for one in sorted(found, key=lambda one: one[1]))


def _place(width: int, name: str, offset: int, size: int) -> Place:
    return Place(name=name, offset=offset, size=size, width=width if size % width == 0 else 1)


def _in_safetensors(file: bytes) -> list[tuple[str, int, int]]:
    length = int.from_bytes(file[:8], "little")
    head = json.loads(file[8 : 8 + length])
    ranges = {name: one["data_offsets"] for name, one in head.items() if name != "__metadata__"}
    return [(name, 8 + length + first, last - first) for name, (first, last) in ranges.items()]


def _in_onnx(file: bytes) -> Iterator[tuple[str, int, int]]:
    """Initializers lie in the file in the graph's order."""
    at = 0
    for one in onnx.load_from_string(file).graph.initializer:
        if len(one.raw_data) >= WINDOW:  # shorter ones could be found in the wrong place
            at = file.index(one.raw_data, at)
            yield one.name, at, len(one.raw_data)
            at += len(one.raw_data)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's and calibrator's advice off."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
