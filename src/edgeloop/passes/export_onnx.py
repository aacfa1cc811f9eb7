"""Write a torch model as one ONNX graph, from raw input to answer."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.errors import ModelError
from edgeloop.passes.onnx_file import written
from edgeloop.plugins import get, register
from edgeloop.runtimes.program import constants, files, graph_inputs, memory, prepared

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Model

logger = logging.getLogger(__name__)

TRIED = 8  # rows on which torch and the graph must give the same answer
OUTSIDE = "constants"  # no file has this name: the runtime hands the tensors in
TOLERANCE = 1e-4  # of an answer's numbers, both float32


@register("pass", "export_onnx.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ExportOnnx:
    """The recipe's network as ``model.onnx``; any number of rows at once; ``opset`` of ai.onnx.

    Tensors that the program's step ``constants`` holds stay in its file.
    """

    opset: Annotated[int, Field(ge=18, le=23)] = 20

    libraries: ClassVar[tuple[str, ...]] = ("torch", "onnx", "onnxscript", "onnxruntime")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Model:
        """A model of format ``onnx`` that gives what ``model`` gives.

        The file holds no paths, dates or stack traces: the same weights give the same bytes.

        Raises:
            ModelError: ``model`` is no torch model, or the graph does not answer as torch does.
        """
        if model.format != "torch":
            raise ModelError(
                "export_onnx",
                "must be given a torch model",
                got=model.format,
                todo="Place it right behind the recipe and the passes that keep weights",
            )
        started = time.monotonic()
        count = TRIED + memory(model)
        rows = {name: values[:count] for name, values in context.data().feed("train").items()}
        net = get("recipe", model.recipe)().module(model)
        graph = self._graph(net, model, prepared(model, rows))
        _leave_open(graph, tuple(constants(model)))
        path = written(graph, context.scratch)
        exported = replace(
            model,
            format="onnx",
            files={**files(model), path.name: path},
            notes={**model.notes, "opset": self.opset},
        )
        _check_same(model, exported, rows, context)
        logger.info(
            "pass.done name=export_onnx.v1 bytes=%d seconds=%.1f",
            path.stat().st_size,
            time.monotonic() - started,
        )
        return exported

    def _graph(self, net: Any, model: Model, rows: dict[str, Array]) -> Any:
        """The network's ``onnx.ModelProto``; ``rows`` are what comes out of the program's steps."""
        import torch

        names = [spec.name for spec in graph_inputs(model)]
        with _quiet():
            program = torch.onnx.export(
                net,
                tuple(torch.from_numpy(rows[name][-TRIED:]) for name in names),
                input_names=names,
                output_names=list(open_kind(model.answer).outputs),
                dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in names),
                opset_version=self.opset,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
        if program is None:
            raise ModelError("export_onnx", "must get a graph from torch.onnx", got="none")
        return program.model_proto


def _leave_open(graph: Any, names: tuple[str, ...]) -> None:
    """Take the numbers of the tensors ``names`` out of the graph, which keeps name and shape.

    Raises:
        ModelError: the graph has no such tensor.
    """
    from onnx import TensorProto

    held = {tensor.name: tensor for tensor in graph.graph.initializer}
    lost = sorted(set(names) - set(held))
    if lost:
        raise ModelError(
            "exported graph",
            "must have each tensor of the program's constants under its name",
            got=f"no {', '.join(lost)}",
            todo="The exporter may have folded it into another: use it as it is, untransposed",
        )
    for name in names:
        held[name].ClearField("raw_data")
        held[name].data_location = TensorProto.EXTERNAL
        place = held[name].external_data.add()
        place.key, place.value = "location", OUTSIDE


def _check_same(one: Model, other: Model, rows: dict[str, Array], context: Context) -> None:
    answers = open_kind(one.answer)
    got, want = context.session(other).run(rows), context.session(one).run(rows)
    equal = answers.parity(got, want, TOLERANCE)
    if not equal.all():
        raise ModelError(
            "exported graph",
            f"must answer as torch does within {TOLERANCE}",
            got=f"{int((~equal).sum())} of {len(equal)} rows that differ",
            todo="The network may use an operation that exports differently in evaluation mode",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own chatter off; what goes wrong it raises."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)
