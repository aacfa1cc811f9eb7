"""Run an ONNX graph with ONNX Runtime on the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.dataclasses import dataclass

from edgeloop.errors import MissingExtraError, ModelError
from edgeloop.plugins import register
from edgeloop.runtimes import onnx_header
from edgeloop.runtimes.program import constants, graph_inputs, wrap
from edgeloop.runtimes.signature import check_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.types import Array, Arrays, Budget, Model, Session, TensorSpec

NAME = "model.onnx"
FATAL_ONLY = 4  # ONNX Runtime's severity: what fails is raised, a line would say it twice
PROCESSOR = "CPUExecutionProvider"
KINDS = {"float": "float32", "double": "float64", "string": "str"}  # the others as numpy's


@register("runtime", "onnx.v1")
@dataclass(frozen=True, kw_only=True)
class OnnxRuntime:
    """Loads ``model.onnx`` of a model whose format is ``onnx``."""

    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def load(self, model: Model, budget: Budget) -> Session:
        """A session that uses ``budget.threads`` threads, with the model's program around it.

        Before ONNX Runtime sees it the graph is looked through (``onnx_header``): tensors that it
        keeps in other files, which could name any path of the device, and operators of other
        domains are refused. It is opened from memory, and no library of custom operators is loaded.
        Tensors that the program's step ``constants`` holds are handed in by name, from memory too.

        Raises:
            MissingExtraError: ONNX Runtime is not installed.
            ModelError: the file is missing or broken, keeps tensors outside, uses operators that
                ONNX Runtime does not know, has other inputs than the program gives it, or leaves
                other tensors open than ``constants`` holds; or ``budget.accelerator`` is not here.
        """
        inputs = graph_inputs(model)
        session = _opened(model.files.get(NAME), constants(model), budget)
        _check_signature(session, inputs)
        return wrap(model, OnnxSession(session, inputs))

    @staticmethod
    def accelerators() -> frozenset[str]:
        """What graphs can run on here, as ``budget.accelerator`` names it: ``cpu``, ``cuda`` ..."""
        return frozenset(_providers())


class OnnxSession:
    """A loaded graph. Safe to use from several threads."""

    def __init__(self, session: Any, inputs: tuple[TensorSpec, ...]) -> None:
        self._session, self._inputs = session, inputs
        self._outputs = [output.name for output in session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Every output by name; the first axis is the batch.

        Raises:
            InputMismatchError: a name, dtype, shape or number of rows is not the model's.
        """
        check_inputs(self._inputs, inputs)
        answers = self._session.run(self._outputs, dict(inputs))
        return dict(zip(self._outputs, answers, strict=True))

    def fresh(self) -> OnnxSession:
        """Itself: a graph has no memory."""
        return self


def _opened(path: Path | None, beside: Arrays, budget: Budget) -> Any:
    try:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import (
            EPFail,
            Fail,
            InvalidArgument,
            InvalidGraph,
            InvalidProtobuf,
            RuntimeException,
        )
        from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotKnown
    except ImportError as error:
        raise MissingExtraError(
            "onnxruntime", "must be installed to run a graph", todo="pip install 'edgeloop[device]'"
        ) from error
    faults = (EPFail, Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotKnown)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = budget.threads, 1
    options.log_severity_level = FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    given = [onnxruntime.OrtValue.ortvalue_from_numpy(values) for values in beside.values()]
    options.add_external_initializers(list(beside), given)
    try:
        graph = path.read_bytes() if path is not None else b""
        onnx_header.check(graph, NAME, beside)
        session = onnxruntime.InferenceSession(graph, options, providers=_wanted(budget))
    except (OSError, RuntimeException, *faults) as error:
        raise ModelError(
            f"model file {NAME}",
            "must be a whole ONNX graph that ONNX Runtime can run",
            got=str(error).splitlines()[0],
            todo=onnx_header.ADVICE,
        ) from error
    if _wanted(budget)[0] not in session.get_providers():  # it goes on without, and says nothing
        raise ModelError(
            f"accelerator {budget.accelerator}",
            "must be one that ONNX Runtime can use here",
            got=f"a session on {', '.join(session.get_providers())}",
        )
    return session


def _wanted(budget: Budget) -> list[str]:
    """The execution providers to ask for; the processor takes what the first does not know."""
    if not budget.accelerator:
        return [PROCESSOR]
    provider = _providers().get(budget.accelerator)
    if provider is None:
        raise ModelError(
            f"accelerator {budget.accelerator}",
            "must be one that ONNX Runtime has here",
            got=", ".join(sorted(_providers())) or "none",
        )
    return list(dict.fromkeys((provider, PROCESSOR)))


def _providers() -> dict[str, str]:
    """Short name -> execution provider, of those that are built into what is installed."""
    try:
        import onnxruntime
    except ImportError:
        return {}
    found: list[str] = onnxruntime.get_available_providers()
    return {name.removesuffix("ExecutionProvider").lower(): name for name in found}


def _check_signature(session: Any, wanted: tuple[TensorSpec, ...]) -> None:
    """Raise unless the graph's inputs are those that the model states, for any number of rows."""
    fixed = [i.name for i in session.get_inputs() if i.shape and isinstance(i.shape[0], int)]
    if fixed:
        raise ModelError(
            f"input {fixed[0]} of {NAME}",
            "must take any number of rows",
            got=f"a first axis that is fixed to {session.get_inputs()[0].shape[0]}",
            todo="Export the graph again with a dynamic batch axis",
        )
    got = {i.name: (_dtype(i.type), tuple(i.shape[1:])) for i in session.get_inputs()}
    want = {spec.name: (spec.dtype, spec.shape) for spec in wanted}
    if got.keys() != want.keys() or not all(_fits(got[n], want[n]) for n in want):
        raise ModelError(f"inputs of {NAME}", f"must be {_said(want)}", got=_said(got))


def _dtype(onnx_type: str) -> str:
    """The name that numpy has for ONNX Runtime's ``tensor(float)``."""
    inner = onnx_type.removeprefix("tensor(").removesuffix(")")
    return KINDS.get(inner, inner)


def _fits(got: tuple[str, tuple[Any, ...]], want: tuple[str, tuple[int, ...]]) -> bool:
    """Equal dtype and shape, where a name or None in the graph's shape takes any size."""
    if got[0] != want[0] or len(got[1]) != len(want[1]):
        return False
    sizes = zip(got[1], want[1], strict=True)
    return all(size in {fixed, None} or isinstance(size, str) for size, fixed in sizes)


def _said(signature: dict[str, tuple[str, tuple[Any, ...]]]) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (dtype, shape) in signature.items())
