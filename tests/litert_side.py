"""TFLite files written by hand: left half against right half, as floats or in whole numbers."""

from pathlib import Path

import numpy as np

from edgeloop.data.snapshot import write
from edgeloop.plugins import get
from edgeloop.runtimes import naming
from edgeloop.types import AnswerSpec, Model, Snapshot, TensorSpec

CLASSES = ("left", "right")
SHAPE = (4, 4)
SCALE = 0.5
SCALES = {  # of picture, weight and logits, each with what stands for zero
    "float32": (),
    "int8": ((SCALE, -8), (1e-4, 0), (0.01, 0)),  # pictures from -60.0 to 67.5
    "uint8": ((1.0, 0), (1e-4, 0), (0.1, 0)),
}


def halves(path: Path, *, rows: int = 1, form: str = "float32", gain: float = 0.01) -> Path:
    """A graph with input ``image`` [rows, 16] and output ``logits`` [rows, 2]; -1: any rows.

    ``uint8`` takes pictures as they are, [rows, 4, 4].
    """
    from ai_edge_litert import schema_py_generated as tfl
    from flatbuffers import Builder

    weight = np.zeros((2, 16), dtype=np.float32)
    weight[0, [p for p in range(16) if p % 4 < 2]] = gain
    weight[1, [p for p in range(16) if p % 4 >= 2]] = gain
    kind, scales = getattr(tfl.TensorType, form.upper()), SCALES[form]
    if scales:
        weight = np.rint(weight / scales[1][0]).astype(form)
    size = SHAPE if form == "uint8" else (16,)
    shapes = ([max(rows, 1), *size], [2, 16], [max(rows, 1), 2])
    tensors = []
    for number, name in enumerate(("image", "weight", "logits")):
        one = tfl.TensorT()
        one.name, one.type, one.shape = name.encode(), kind, shapes[number]
        one.buffer = 1 if name == "weight" else 0
        if rows < 0 and name != "weight":
            one.shapeSignature = [-1, *shapes[number][1:]]
        if scales:
            one.quantization = tfl.QuantizationParametersT()
            one.quantization.scale = [scales[number][0]]
            one.quantization.zeroPoint = [scales[number][1]]
        tensors.append(one)
    code = tfl.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.FULLY_CONNECTED
    code.version = 4
    operator = tfl.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, -1], [2]
    operator.builtinOptionsType = tfl.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = tfl.FullyConnectedOptionsT()
    graph = tfl.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = tensors, [0], [2]
    graph.operators = [operator]
    empty, held = tfl.BufferT(), tfl.BufferT()
    held.data = np.frombuffer(weight.tobytes(), dtype=np.uint8)
    model = tfl.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [empty, held]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


NAMED = naming.Naming(
    outputs=(
        naming.Output(name="probabilities", of="logits", how="softmax"),
        naming.Output(name="label", of="probabilities", how="largest"),
    )
)


def model(path: Path, *, named: naming.Naming = NAMED) -> Model:
    """The file as a model that says which half is lighter."""
    return Model(
        format="litert",
        answer=AnswerSpec(kind="label", params={"classes": list(CLASSES)}),
        inputs=(TensorSpec(name="image", dtype="float32", shape=(16,)),),
        files={"model.tflite": path},
        program=(naming.declared(named),),
    )


def pictures(rows: int) -> np.ndarray:
    """``float32[rows, 16]`` from 0 to 60: one half lighter than the other, in turns."""
    images = np.random.default_rng(4).random((rows, *SHAPE)).astype(np.float32) * 20
    images[::2, :, :2] += 40
    images[1::2, :, 2:] += 40
    return images.reshape(rows, 16)


def sides(workplace, inputs, classes=CLASSES) -> Snapshot:
    """A snapshot of ``inputs`` whose classes come in turns, split."""
    rows = len(next(iter(inputs.values())))
    whole = write(
        name="halves",
        inputs=inputs,
        target=("label", np.arange(rows) % len(classes)),
        answer=AnswerSpec(kind="label", params={"classes": list(classes)}),
        scratch=workplace().scratch,
        provenance={},
    )
    return get("split", "stratified")(by="label", test=0.3, seed=7).run(whole, workplace())
