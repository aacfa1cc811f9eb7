"""Take an ONNX file that exists, so that a model of one's own goes through the loop."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from edgeloop.errors import ModelError
from edgeloop.plugins import register
from edgeloop.recipes.onnx_inputs import check_inputs
from edgeloop.types import Model

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Json, Snapshot

logger = logging.getLogger(__name__)

NAME = "model.onnx"
LARGEST = 1 << 30  # bytes
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # whose operators ONNX Runtime brings


class NoDistributionError(ModelError):
    """The output that was taken for probabilities is none."""


def answer_of(graph: Any) -> dict[str, Json] | None:
    """What kind of answer the graph's only table of numbers is; None when it does not say."""
    from onnx import TensorProto

    kinds = [output.type.tensor_type for output in graph.graph.output]
    tables = [k for k in kinds if k.elem_type == TensorProto.FLOAT and len(k.shape.dim) == 2]
    width = tables[0].shape.dim[1].dim_value if len(tables) == 1 else 0
    if not width:
        return None
    return {"kind": "label", "classes": [str(number) for number in range(width)]}


@register("recipe", "onnx_file.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OnnxFile:
    """The graph in ``file`` (relative to the loop file), for answers of kind ``label``.

    ``probabilities`` names the output float32[n, classes]; None takes the only float output.
    ``label`` names the output int64[n] of class indices; None adds the largest's place to the
    graph. With ``logits`` that output is not yet a distribution, and a softmax is added.
    """

    file: Path
    probabilities: str | None = None
    label: str | None = None
    logits: bool = False

    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def build(self, snapshot: Snapshot, context: Context) -> Model:
        """A model of format ``onnx`` with outputs ``probabilities`` and ``label``.

        Raises:
            ModelError: the file is missing, broken or too large, keeps tensors in other files, uses
                operators of an unknown domain, lacks an output, or gives no distribution.
            DataError: the snapshot's inputs are not those that the graph takes.
        """
        graph = self.graph(context.folder)
        check_inputs(graph, snapshot, self.file.name)
        self._name_outputs(graph)
        path = context.scratch / NAME
        path.write_bytes(graph.SerializeToString(deterministic=True))
        model = Model(
            format="onnx",
            answer=snapshot.answer,
            inputs=snapshot.input_specs(),
            files={NAME: path},
            recipe="onnx_file.v1",
            notes={"file_sha256": self.inputs_digest(context.folder)},
        )
        self._try(model, snapshot, context)
        logger.info("recipe.done name=onnx_file.v1 bytes=%d", path.stat().st_size)
        return model

    def inputs_digest(self, folder: Path) -> str:
        """sha256 hex of the file, so that a changed file is a new step.

        Raises:
            ModelError: it cannot be read.
        """
        return hashlib.sha256(self._bytes(folder / self.file)).hexdigest()

    def _bytes(self, path: Path) -> bytes:
        try:
            if path.stat().st_size > LARGEST:
                raise self._fault(f"must have {LARGEST} bytes or fewer", path.stat().st_size)
            return path.read_bytes()
        except OSError as error:
            raise self._fault(
                "must be readable", error.strerror, "It is relative to the loop file"
            ) from error

    def graph(self, folder: Path) -> Any:
        """The file as an ``onnx.ModelProto`` that reaches nothing outside itself.

        Raises:
            ModelError: it is missing, broken, too large, or reaches outside.
        """
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            graph = onnx.load_model_from_string(self._bytes(folder / self.file))
            _check_inside(graph, self.file.name)
            onnx.checker.check_model(graph)
        except (DecodeError, onnx.checker.ValidationError) as error:
            raise self._fault("must be a whole ONNX graph", str(error).splitlines()[0]) from error
        return graph

    def _name_outputs(self, graph: Any) -> None:
        """Give the graph exactly the outputs ``probabilities`` and ``label``."""
        from onnx import TensorProto, helper

        outputs = {output.name: output for output in graph.graph.output}
        source = self._source(outputs)
        operation = "Softmax" if self.logits else "Identity"
        axis: dict[str, int] = {"axis": -1} if self.logits else {}
        inputs = {given.name for given in graph.graph.input} & {"probabilities", "label"}
        if inputs:
            raise self._fault("must not have an input with the name of an output", min(inputs))
        taken = _fresh(graph, ("probabilities", "label"))
        _rename(graph, taken)
        source, label = taken.get(source, source), taken.get(self.label or "", self.label)
        nodes = [helper.make_node(operation, [source], ["probabilities"], **axis)]
        if label is None:
            nodes.append(
                helper.make_node("ArgMax", ["probabilities"], ["label"], axis=-1, keepdims=0)
            )
        else:
            nodes.append(helper.make_node("Cast", [label], ["label"], to=TensorProto.INT64))
        graph.graph.node.extend(nodes)
        del graph.graph.output[:]
        graph.graph.output.extend(
            [
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", None]),
                helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
            ]
        )

    def _source(self, outputs: dict[str, Any]) -> str:
        """The output that holds probabilities or logits."""
        from onnx import TensorProto

        for name in (self.probabilities, self.label):
            if name is not None and name not in outputs:
                raise self._fault(f"must have the output {name!r}", ", ".join(outputs))
        if self.probabilities is not None:
            return self.probabilities
        floats = [
            name
            for name, output in outputs.items()
            if output.type.tensor_type.elem_type == TensorProto.FLOAT
        ]
        if len(floats) != 1:
            raise self._fault(
                "must have one float32 output",
                ", ".join(floats) or "none",
                "Name the one to take in recipe.probabilities",
            )
        return floats[0]

    def _try(self, model: Model, snapshot: Snapshot, context: Context) -> None:
        """Run one row, and hold its answer against the classes."""
        rows = {name: values[:1] for name, values in snapshot.feed().items()}
        answer = context.session(model).run(rows)["probabilities"]
        classes = len(snapshot.answer.params["classes"])
        if answer.shape != (1, classes):
            raise self._fault(
                f"must answer one row with {classes} probabilities", f"shape {list(answer.shape)}"
            )
        total = float(answer.sum())
        if not 0.99 <= total <= 1.01 or float(answer.min()) < 0:  # float16 sums are that far off
            raise NoDistributionError(
                f"model file {self.file.name}",
                "must give probabilities that sum to 1",
                got=f"{total:.4g}",
                todo="Set recipe.logits: true when the output is logits",
            )

    def _fault(self, rule: str, got: object, todo: str = "") -> ModelError:
        return ModelError(f"model file {self.file.name}", rule, got=got, todo=todo)


def _check_inside(graph: Any, name: str) -> None:
    """Raise when a graph reaches outside itself: other files, other operators' libraries."""
    from onnx import TensorProto

    tensors = graph.graph.initializer
    outside = [t.name for t in tensors if t.data_location == TensorProto.EXTERNAL]
    if outside:
        raise ModelError(
            f"model file {name}",
            "must hold all of its tensors",
            got=f"{len(outside)} in other files",
            todo="Save it as one file: onnx.save(onnx.load(path), path)",
        )
    foreign = sorted({o.domain for o in graph.opset_import} - set(DOMAINS))
    if foreign:
        raise ModelError(
            f"model file {name}",
            f"must use operators of {', '.join(repr(d) for d in DOMAINS)} only",
            got=", ".join(foreign),
            todo="A device loads no library of custom operators",
        )


def _fresh(graph: Any, wanted: tuple[str, ...]) -> dict[str, str]:
    """New names for values that have one of the names that the outputs will get."""
    used = {name for node in graph.graph.node for name in (*node.input, *node.output)}
    return {name: f"{name}_before" for name in wanted if name in used}


def _rename(graph: Any, names: dict[str, str]) -> None:
    for node in graph.graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]
    for tensor in graph.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
