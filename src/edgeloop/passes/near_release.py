"""Move an ONNX graph's weights onto levels near those of the release before it is quantized.

The quantizer is then told the scales, and finds on them the very levels that were chosen. Where the
release has no weight of that name and shape, the graph's own stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeloop.passes.near_levels import Levels, near

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.types import Array, Arrays

WIDER = 1.3  # so many times wider than what was measured, an old range still fits
BEYOND = 0.05  # of an old range's width: what was measured may lie so far outside it
BATCH = 64
Overrides = dict[str, list[dict[str, Any]]]  # as ONNX Runtime's quantizer takes them


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a weight is multiplied by: means by channel, float64[channels], and mean squares."""

    mean: Array
    square: Array


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A weight that an int8 release has too, with its rows' axis there."""

    name: str
    node: Any  # onnx.NodeProto, of the float graph
    axis: int
    old: Levels

    def rows(self, values: Array) -> Array:
        """``values`` of the tensor's shape as float64[rows, columns]."""
        return _rows(values, self.axis)

    def back(self, rows: Array, shape: Sequence[int]) -> Array:
        """The inverse of :meth:`rows`."""
        import numpy as np

        moved = [shape[self.axis], *(n for i, n in enumerate(shape) if i != self.axis)]
        return np.moveaxis(rows.reshape(moved), 0, self.axis)

    def by_weight(self, channels: Array, shape: Sequence[int]) -> Array:
        """What belongs to each input channel, to each weight: float64[rows or 1, columns]."""
        import numpy as np

        if self.node.op_type != "Conv":
            return channels[None]
        groups = len(channels) // shape[1]
        by_group = np.repeat(channels.reshape(groups, shape[1]), int(np.prod(shape[2:])), axis=1)
        return np.repeat(by_group, shape[0] // groups, axis=0)


def weights(graph: Any, release: Path) -> list[Weight]:
    """The weights of ``graph`` (``onnx.GraphProto``) that ``release`` has as int8 by channel."""
    import onnx

    old = onnx.load(str(release)).graph
    held = {tensor.name: tensor for tensor in old.initializer}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    users = {node.input[1]: node for node in graph.node if len(node.input) > 1}
    found = []
    for node in old.node:
        name = node.input[0].removesuffix("_quantized")
        fits = name in users and node.input[0] in held and name in shapes
        if node.op_type != "DequantizeLinear" or not fits:
            continue
        tensor, scale = held[node.input[0]], held[node.input[1]]
        if tensor.data_type != onnx.TensorProto.INT8 or len(scale.dims) != 1:
            continue
        if shapes[name] == tuple(tensor.dims):
            found.append(_weight(name, users[name], node, tensor, scale))
    return found


def _rows(values: Array, axis: int) -> Array:
    import numpy as np

    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _weight(name: str, user: Any, node: Any, tensor: Any, scale: Any) -> Weight:
    import numpy as np
    from onnx.numpy_helper import to_array

    axis = next(one.i for one in node.attribute if one.name == "axis")
    levels = _rows(to_array(tensor).astype(np.int64), axis)
    scales = to_array(scale).astype(np.float64)
    return Weight(name=name, node=user, axis=axis, old=Levels(levels=levels, scales=scales))


def moved(
    model: Any, found: Sequence[Weight], rows: Arrays, *, rate: float, most: int
) -> Overrides:
    """Change ``model`` (``onnx.ModelProto``): its weights lie on levels near the old ones.

    A bias takes up what this does to its channel's mean on ``rows``. Gives what the quantizer must
    be told.
    """
    import numpy as np
    from onnx.numpy_helper import from_array, to_array

    held = {tensor.name: tensor for tensor in model.graph.initializer}
    seen = _seen(model, found, rows)
    told: Overrides = {}
    for one in found:
        values = to_array(held[one.name]).astype(np.float64)
        inputs = seen[one.node.input[0]]
        importance = one.by_weight(inputs.square, values.shape)
        chosen = near(one.rows(values), one.old, importance, rate=rate, most=most)
        scales = chosen.scales.astype(np.float32)
        lost = one.rows(values) - chosen.levels * scales[:, None]
        real = one.back(chosen.levels * scales[:, None], values.shape).astype(np.float32)
        held[one.name].CopyFrom(from_array(np.ascontiguousarray(real), one.name))
        _take_up(held, one, (lost * one.by_weight(inputs.mean, values.shape)).sum(axis=1))
        told[one.name] = _by_channel(one.axis, scales)
    return told


def _by_channel(axis: int, scales: Array) -> list[dict[str, Any]]:
    import numpy as np

    zero = np.array(0, dtype=np.int8)
    return [{"axis": axis, "scale": scale, "zero_point": zero} for scale in scales]


def _take_up(held: Mapping[str, Any], one: Weight, shift: Array) -> None:
    """Add what a channel's mean loses by the change to its bias, where it has one."""
    import numpy as np
    from onnx.numpy_helper import from_array, to_array

    name = one.node.input[2] if len(one.node.input) > 2 else ""
    if name in held:
        bias = (to_array(held[name]).astype(np.float64) + shift).astype(np.float32)
        held[name].CopyFrom(from_array(bias, name))


def _seen(model: Any, found: Sequence[Weight], rows: Arrays) -> dict[str, Seen]:
    """Of each tensor that is multiplied by one of the weights."""
    import numpy as np

    names = sorted({one.node.input[0] for one in found})
    channels = {one.node.input[0]: 1 if one.node.op_type == "Conv" else -1 for one in found}
    sums: dict[str, list[Array]] = {name: [] for name in names}
    for batch in _outputs(model, names, rows):
        for name, values in batch.items():
            flat = np.moveaxis(values.astype(np.float64), channels[name], -1)
            flat = flat.reshape(-1, flat.shape[-1])
            sums[name].append(np.stack([flat.mean(axis=0), (flat**2).mean(axis=0)]))
    means = {name: np.mean(parts, axis=0) for name, parts in sums.items()}
    return {name: Seen(mean=one[0], square=one[1]) for name, one in means.items()}


def _outputs(model: Any, names: Sequence[str], rows: Arrays) -> Any:
    """What the graph computes under ``names``, batch by batch."""
    import onnx
    import onnxruntime

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    outputs = {output.name for output in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    count = len(next(iter(rows.values())))
    for first in range(0, count, BATCH):
        batch = {name: values[first : first + BATCH] for name, values in rows.items()}
        yield dict(zip(names, session.run(list(names), batch), strict=True))


def ranges(made: Any, release: Path) -> Overrides:
    """The old ranges of activations that still fit: what ``made`` measured nearly fills them."""
    import onnx

    old, new = _activations(onnx.load(str(release)).graph), _activations(made.graph)
    fitting = [name for name in new if name in old and _fits(old[name], new[name])]
    return {name: [{"scale": old[name][0], "zero_point": old[name][1]}] for name in fitting}


def _fits(old: tuple[Any, Any], new: tuple[Any, Any]) -> bool:
    """Whether a range, scale and int8 zero point, may stand for another."""
    (low, high), (lowest, highest) = _range(*old), _range(*new)
    slack = BEYOND * (high - low)
    inside = low - slack <= lowest and highest <= high + slack
    return inside and high - low <= WIDER * (highest - lowest)


def _range(scale: Any, zero: Any) -> tuple[float, float]:
    return (-128 - int(zero)) * float(scale), (127 - int(zero)) * float(scale)


def _activations(graph: Any) -> dict[str, tuple[Any, Any]]:
    """Scale and zero point of each tensor that is quantized while the graph runs."""
    from onnx.numpy_helper import to_array

    held = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    return {node.input[0]: (held[node.input[1]], held[node.input[2]]) for node in nodes}
