"""Write boosted trees as one ONNX graph, from raw columns (texts included) to answer.

Thresholds are rounded down to float32, so that a float32 column compares as it did in training.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.errors import ModelError
from edgeloop.passes.onnx_file import written
from edgeloop.plugins import register
from edgeloop.runtimes.encoding import load
from edgeloop.runtimes.lightgbm import booster

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.runtimes.encoding import Column, Encoding
    from edgeloop.types import Model, TensorSpec

logger = logging.getLogger(__name__)

OPSET, TREES_OPSET = 20, 3  # of ai.onnx and ai.onnx.ml
IR_VERSION = 10
TRIED = 512  # rows on which trees and graph must give the same answer
TOLERANCE = 1e-5  # of a probability


@register("pass", "export_trees.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ExportTrees:
    """LightGBM's trees as ``model.onnx``: one input per column, any number of rows at once."""

    libraries: ClassVar[tuple[str, ...]] = ("lightgbm", "onnx", "onnxruntime")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Model:
        """A model of format ``onnx`` that gives what ``model`` gives; the same trees, same bytes.

        Raises:
            MissingExtraError: LightGBM is not installed.
            ModelError: ``model`` is no lightgbm model, or the graph does not answer as it does.
        """
        if model.format != "lightgbm":
            raise ModelError(
                "export_trees",
                "must be given a lightgbm model",
                got=model.format,
                todo="Place it right behind the recipe gradient_boosting",
            )
        started, encoding = time.monotonic(), load(model.files)
        trees = booster(model, encoding).dump_model()["tree_info"]
        path = written(_graph(model, encoding, trees), context.scratch)
        notes = {**model.notes, "opset": OPSET}
        exported = replace(model, format="onnx", files={path.name: path}, notes=notes)
        _check_same(model, exported, context)
        logger.info(
            "pass.done name=export_trees.v1 bytes=%d seconds=%.1f",
            path.stat().st_size,
            time.monotonic() - started,
        )
        return exported


def _check_same(one: Model, other: Model, context: Context) -> None:
    rows = {name: values[:TRIED] for name, values in context.data().feed("train").items()}
    got, want = context.session(other).run(rows), context.session(one).run(rows)
    equal = open_kind(one.answer).parity(got, want, TOLERANCE)
    if not equal.all():
        raise ModelError(
            "exported graph",
            f"must answer as LightGBM does within {TOLERANCE}",
            got=f"{int((~equal).sum())} of {len(equal)} rows that differ",
        )


# The graph ---------------------------------------------------------------------------------------


def _graph(model: Model, encoding: Encoding, trees: list[Any]) -> Any:
    """``onnx.ModelProto``: columns to one table, trees to a score, score to probabilities.

    Names inside have a dot, which keeps them apart from those of columns.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    table, chosen = open_kind(model.answer).outputs
    columns = [f"column.{one.name}" for one in encoding.columns]
    nodes = [node for one in encoding.columns for node in _column(one)]
    nodes += [
        helper.make_node("Concat", columns, ["trees.table"], axis=1),
        _ensemble(trees),
        helper.make_node("Sigmoid", ["trees.score"], ["trees.second"]),
        helper.make_node("Sub", ["trees.one", "trees.second"], ["trees.first"]),
        helper.make_node("Concat", ["trees.first", "trees.second"], [table], axis=1),
        helper.make_node("ArgMax", [table], [chosen], axis=1, keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], dtype=np.int64), "trees.axis"),
        numpy_helper.from_array(np.array([1], dtype=np.float32), "trees.one"),
    ]
    graph = helper.make_graph(
        nodes, "trees", *_ends(model.inputs, table, chosen), initializer=constants
    )
    opsets = [helper.make_opsetid(*pair) for pair in (("", OPSET), ("ai.onnx.ml", TREES_OPSET))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _ends(inputs: tuple[TensorSpec, ...], table: str, chosen: str) -> tuple[list[Any], list[Any]]:
    """The graph's inputs, the ignored ones too, and its outputs."""
    import numpy as np
    from onnx import TensorProto, helper

    def kind(dtype: str) -> Any:
        text = dtype == "str"
        return TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    made = helper.make_tensor_value_info
    return [made(spec.name, kind(spec.dtype), ["n"]) for spec in inputs], [
        made(table, TensorProto.FLOAT, ["n", 2]),
        made(chosen, TensorProto.INT64, ["n"]),
    ]


def _column(column: Column) -> Iterator[Any]:
    """From an input ``[n]`` to the column ``[n, 1]`` of the table, float32."""
    from onnx import TensorProto, helper

    flat = f"flat.{column.name}"
    if column.codes is None:
        yield helper.make_node("Cast", [column.name], [flat], to=TensorProto.FLOAT)
    else:
        codes = column.of_texts()
        yield helper.make_node(
            "LabelEncoder",
            [column.name],
            [flat],
            domain="ai.onnx.ml",
            keys_strings=list(codes),
            values_floats=list(codes.values()),
            default_float=column.unseen,
        )
    yield helper.make_node("Unsqueeze", [flat, "trees.axis"], [f"column.{column.name}"])


def _ensemble(trees: list[Any]) -> Any:
    """The node that sums the leaves which each row of the table reaches."""
    from onnx import helper

    held: dict[str, list[Any]] = defaultdict(list)
    for number, tree in enumerate(trees):
        _add(held, number, tree["tree_structure"])
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["trees.table"],
        ["trees.score"],
        domain="ai.onnx.ml",
        n_targets=1,
        **held,
    )


def _add(held: dict[str, list[Any]], number: int, root: Any) -> None:
    """One tree's nodes as the operator's parallel lists, numbered as they are met."""
    waiting, count = [(root, 0)], 1
    while waiting:
        node, place = waiting.pop()
        leaf = "leaf_value" in node
        left, right = (0, 0) if leaf else (count, count + 1)
        threshold = 0.0 if leaf else _rounded_down(node["threshold"])
        held["nodes_treeids"].append(number)
        held["nodes_nodeids"].append(place)
        held["nodes_modes"].append("LEAF" if leaf else "BRANCH_LEQ")
        held["nodes_featureids"].append(0 if leaf else node["split_feature"])
        held["nodes_values"].append(threshold)
        held["nodes_truenodeids"].append(left)
        held["nodes_falsenodeids"].append(right)
        held["nodes_missing_value_tracks_true"].append(int(not leaf and _missing_goes_left(node)))
        if leaf:
            held["target_treeids"].append(number)
            held["target_nodeids"].append(place)
            held["target_ids"].append(0)
            held["target_weights"].append(node["leaf_value"])
        else:
            waiting += [(node["left_child"], left), (node["right_child"], right)]
            count += 2


def _missing_goes_left(node: Any) -> bool:
    """Where NaN goes; LightGBM takes it for 0 where training saw no missing value."""
    if node["missing_type"] == "None":
        return bool(node["threshold"] >= 0)
    return bool(node["default_left"])


def _rounded_down(threshold: float) -> float:
    """The largest float32 that is not above ``threshold``: no float32 lies between the two."""
    import numpy as np

    with np.errstate(over="ignore"):  # LightGBM writes 1e300 for "any number"
        near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32("-inf")))
