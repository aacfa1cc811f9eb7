"""Run a TFLite graph with LiteRT on the processor."""

from __future__ import annotations

import threading
from dataclasses import dataclass as value
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.dataclasses import dataclass

from edgeloop.errors import InputMismatchError, MissingExtraError, ModelError
from edgeloop.plugins import register
from edgeloop.runtimes import naming
from edgeloop.runtimes.program import constants, graph_inputs, wrap
from edgeloop.runtimes.signature import check_inputs
from edgeloop.runtimes.tflite_header import read_header

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeloop.types import Array, Arrays, Budget, Model, Session, TensorSpec

NAME = "model.tflite"
AT_ONCE = 64  # rows; more would only take memory
ANY = -1  # an axis that takes any size


@register("runtime", "litert.v1")
@dataclass(frozen=True, kw_only=True)
class LiteRt:
    """Loads ``model.tflite`` of a model whose format is ``litert``.

    The last step of its program, ``graph``, may rename inputs and outputs: see ``naming``.
    """

    libraries: ClassVar[tuple[str, ...]] = ("ai-edge-litert",)

    def load(self, model: Model, budget: Budget) -> Session:
        """A session that uses ``budget.threads`` threads, with the model's program around it.

        A graph that is fixed to one row answers rows one by one. Where it takes whole numbers with
        a scale, the model may state float32: they are made here. Outputs with a scale are given as
        float32.

        Raises:
            MissingExtraError: LiteRT is not installed.
            ModelError: the file is missing or broken, uses operators of its own, keeps tensors
                outside, is fixed to several rows, takes texts, or has other inputs than the program
                gives it; or the program has a step ``constants``.
        """
        inputs, named = graph_inputs(model), naming.of(model)
        if constants(model):
            raise ModelError(
                "program of a litert model",
                "must have no step 'constants'",
                todo="LiteRT takes no tensors beside the graph: convert the merged model",
            )
        content = _content(model.files.get(NAME))
        header = read_header(content, NAME)
        graph = Graph(content, budget.threads, inputs, named.inputs)
        return wrap(model, LitertSession(graph, inputs, named, remembers=header.remembers))


class LitertSession:
    """A loaded graph. Safe to use from several threads, one batch at a time."""

    def __init__(
        self,
        graph: Graph,
        inputs: tuple[TensorSpec, ...],
        named: naming.Naming,
        *,
        remembers: bool,
    ) -> None:
        self._graph, self._inputs, self._named = graph, inputs, named
        self._remembers, self._lock = remembers, threading.Lock()
        self._rows = AT_ONCE if graph.any_rows and not remembers else 1

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Every output by name; the first axis is the batch.

        Raises:
            InputMismatchError: a name, dtype, shape or number of rows is not the model's, or a
                number is not finite where the graph takes whole ones.
            ModelError: the graph gives no answer per row.
        """
        import numpy as np

        check_inputs(self._inputs, inputs)
        rows = len(next(iter(inputs.values())))
        with self._lock:
            parts = [
                self._graph.run({n: v[start : start + self._rows] for n, v in inputs.items()})
                for start in range(0, rows, self._rows)
            ] or [self._graph.nothing()]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return self._named.apply(joined)

    def fresh(self) -> LitertSession:
        """Itself, unless the graph keeps variables: then one with variables of its own."""
        if not self._remembers:
            return self
        return LitertSession(self._graph.again(), self._inputs, self._named, remembers=True)


@value(frozen=True, kw_only=True)
class Tensor:
    """An input or output of the graph. ``scale`` is 0 where its numbers are meant as they are."""

    index: int
    dtype: str
    shape: tuple[int, ...]  # with its first axis; ANY takes any size
    scale: float
    zero: int


class Graph:
    """LiteRT with one file loaded. Belongs to one thread at a time."""

    def __init__(
        self, content: bytes, threads: int, specs: tuple[TensorSpec, ...], names: Mapping[str, str]
    ) -> None:
        self._content, self._threads, self._specs, self._names = content, threads, specs, names
        self._interpreter = _opened(content, threads)
        given, self._outputs = _described(self._interpreter)
        self._inputs = _matched(given, specs, names)
        self.any_rows = all(tensor.shape[:1] == (ANY,) for tensor in self._inputs.values())
        self._sized = 0  # rows that room is made for
        self._make_room(1)

    def again(self) -> Graph:
        """The same file loaded anew."""
        return Graph(self._content, self._threads, self._specs, self._names)

    def run(self, feed: Arrays) -> dict[str, Array]:
        """The outputs of a batch by their names in the graph: of one row unless ``any_rows``."""
        rows = len(next(iter(feed.values())))
        self._make_room(rows)
        for name, tensor in self._inputs.items():
            self._interpreter.set_tensor(tensor.index, _stored(name, feed[name], tensor))
        self._interpreter.invoke()
        return {name: self._read(name, tensor, rows) for name, tensor in self._outputs.items()}

    def nothing(self) -> dict[str, Array]:
        """What :meth:`run` gives, of no rows."""
        import numpy as np

        shapes = {name: self._value(tensor) for name, tensor in self._outputs.items()}
        return {name: np.zeros((0, *one.shape[1:]), one.dtype) for name, one in shapes.items()}

    def _make_room(self, rows: int) -> None:
        if rows == self._sized:
            return
        for spec in self._specs:
            tensor = self._inputs[spec.name]
            if ANY in tensor.shape:
                size = [rows, *spec.shape]
                self._interpreter.resize_tensor_input(tensor.index, size, strict=True)
        try:
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError, MemoryError) as fault:
            raise _broken(fault) from fault
        self._sized = rows

    def _read(self, name: str, tensor: Tensor, rows: int) -> Array:
        values = self._value(tensor)
        if len(values) != rows:
            rule = f"must give one answer per row: {rows}"
            raise ModelError(f"output {name} of {NAME}", rule, got=list(values.shape))
        return values

    def _value(self, tensor: Tensor) -> Array:
        import numpy as np

        values: Array = self._interpreter.get_tensor(tensor.index)
        if tensor.scale:
            whole = values.astype(np.float32) - np.float32(tensor.zero)
            values = whole * np.float32(tensor.scale)
        return values if values.ndim else values.reshape(1)


def tensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and outputs of the file of these bytes, by their names in the graph.

    Raises:
        MissingExtraError: LiteRT is not installed.
        ModelError: the file is broken, or one of them has a scale for each of its channels.
    """
    read_header(content, NAME)
    return _described(_opened(content, threads=1))


def _content(path: Path | None) -> bytes:
    try:
        return path.read_bytes() if path is not None else b""
    except OSError as fault:
        raise _broken(fault) from fault


def _opened(content: bytes, threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError(
            "ai-edge-litert",
            "must be installed to run a TFLite graph",
            todo="pip install 'edgeloop[litert]'",
        ) from error
    try:
        return Interpreter(model_content=content, num_threads=threads)
    except (ValueError, RuntimeError, MemoryError) as fault:
        raise _broken(fault) from fault


def _broken(fault: Exception) -> ModelError:
    return ModelError(
        f"model file {NAME}",
        "must be a whole TFLite graph that LiteRT can run",
        got=(str(fault).splitlines() or [type(fault).__name__])[0],
        todo="It may be cut short, or use operators that this version does not know",
    )


def _described(interpreter: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and outputs, by the names of the only signature; of the tensors where there is none.

    Raises:
        ModelError: one has a scale for each of its channels.
    """
    plain = [
        {tensor["name"]: tensor for tensor in side}
        for side in (interpreter.get_input_details(), interpreter.get_output_details())
    ]
    signatures = list(interpreter.get_signature_list())
    if len(signatures) == 1:
        runner = interpreter.get_signature_runner(signatures[0])
        named = [runner.get_input_details(), runner.get_output_details()]
        if [_indices(side) for side in named] == [_indices(side) for side in plain]:
            plain = named
    inputs, outputs = ({n: _tensor(n, one) for n, one in side.items()} for side in plain)
    return inputs, outputs


def _indices(side: dict[str, Any]) -> list[int]:
    return sorted(int(tensor["index"]) for tensor in side.values())


def _tensor(name: str, told: dict[str, Any]) -> Tensor:
    import numpy as np

    scales = told["quantization_parameters"]["scales"]
    zeros = told["quantization_parameters"]["zero_points"]
    if len(scales) > 1:
        rule = "must have one scale"
        raise ModelError(f"tensor {name} of {NAME}", rule, got=f"{len(scales)}, one per channel")
    texts = told["dtype"] in (np.bytes_, np.str_, object)
    return Tensor(
        index=int(told["index"]),
        dtype="str" if texts else str(np.dtype(told["dtype"])),
        shape=tuple(int(size) for size in told["shape_signature"]),
        scale=float(scales[0]) if len(scales) else 0.0,
        zero=int(zeros[0]) if len(zeros) else 0,
    )


def _matched(
    given: dict[str, Tensor], specs: tuple[TensorSpec, ...], names: Mapping[str, str]
) -> dict[str, Tensor]:
    """The graph's inputs by their names in the model.

    Raises:
        ModelError: a name, dtype or shape is another, or a first axis is fixed to several rows.
    """
    fixed = [name for name, tensor in given.items() if tensor.shape[:1] not in {(1,), (ANY,)}]
    if fixed:
        raise ModelError(
            f"input {fixed[0]} of {NAME}",
            "must take one row, or any number",
            got=f"shape {list(given[fixed[0]].shape)}",
            todo="Convert the model with a batch of 1",
        )
    wanted = {names.get(spec.name, spec.name): spec for spec in specs}
    if given.keys() != wanted.keys() or not all(_fits(given[n], wanted[n]) for n in wanted):
        want = ", ".join(f"{n} {spec.dtype}{list(spec.shape)}" for n, spec in wanted.items())
        got = ", ".join(f"{n} {t.dtype}{list(t.shape[1:])}" for n, t in given.items())
        raise ModelError(f"inputs of {NAME}", f"must be {want}", got=got)
    return {spec.name: given[name] for name, spec in wanted.items()}


def _fits(tensor: Tensor, spec: TensorSpec) -> bool:
    """Whether the graph takes what the model states. Texts it cannot take."""
    scaled = bool(tensor.scale) and spec.dtype == "float32"
    same = tensor.dtype == spec.dtype != "str" or scaled
    sizes = zip(tensor.shape[1:], spec.shape, strict=False)
    return (
        same and len(tensor.shape) - 1 == len(spec.shape) and all(a in {b, ANY} for a, b in sizes)
    )


def _stored(name: str, values: Array, tensor: Tensor) -> Array:
    """``values`` as the graph stores them."""
    import numpy as np

    if str(values.dtype) == tensor.dtype:
        return np.ascontiguousarray(values)
    if not np.isfinite(values).all():
        rule = f"must be finite: the graph takes {tensor.dtype}"
        raise InputMismatchError(f"input {name!r}", rule, got="NaN or infinity")
    limits = np.iinfo(tensor.dtype)
    whole = np.rint(values / np.float32(tensor.scale)) + tensor.zero
    stored: Array = np.clip(whole, limits.min, limits.max).astype(tensor.dtype)
    return stored
