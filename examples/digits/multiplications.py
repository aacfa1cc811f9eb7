"""How many multiplications a graph takes for one row: what "less to compute" means, on any machine.

Of convolutions and matrix products, which is where nearly all of them are.
"""

from math import prod
from pathlib import Path

import onnx


def multiplications(path: Path) -> int:
    """For one row of the ONNX graph in ``path``."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        # an axis without a number is the batch: one row
        sizes = [axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim]
        shapes.setdefault(value.name, sizes)
    return sum(_of_node(node, shapes) for node in graph.node)


def _of_node(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    """Each number that comes out is a sum over what one of them reads."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return 0
    weight = shapes[node.input[1]]
    results = prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        return results * prod(weight[1:])
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return results * weight[-1 if transposed else -2]
