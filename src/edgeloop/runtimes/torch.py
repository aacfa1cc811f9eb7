"""Run a trained torch model as its recipe rebuilds it; for reference, never on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.errors import MissingExtraError, ModelError
from edgeloop.plugins import get, register
from edgeloop.runtimes.program import graph_inputs, wrap
from edgeloop.runtimes.signature import check_inputs

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays, Budget, Model, Session, TensorSpec


@register("runtime", "torch.v1")
@dataclass(frozen=True, kw_only=True)
class TorchRuntime:
    """Loads a model whose format is ``torch`` through ``module`` of the recipe that it names."""

    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    reference_only: ClassVar[bool] = True  # for checks; devices run what passes export

    def load(self, model: Model, budget: Budget) -> Session:  # noqa: ARG002
        """A session on the processor; torch's threads are the process's and stay as they are.

        Raises:
            MissingExtraError: torch is not installed.
            ModelError: the model names no recipe, or its files are broken.
        """
        if not model.recipe:
            raise ModelError("torch model", "must name the recipe that rebuilds it", got="none")
        try:
            import torch  # noqa: F401  (asked here, so that the recipe's import does not fail bare)
        except ImportError as error:
            raise MissingExtraError(
                "torch",
                "must be installed to run a torch model",
                todo="pip install 'edgeloop[train]'",
            ) from error
        module = get("recipe", model.recipe)().module(model)
        session = TorchSession(module, graph_inputs(model), open_kind(model.answer).outputs)
        return wrap(model, session)


class TorchSession:
    """A loaded network in evaluation mode."""

    def __init__(
        self, module: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[str, ...]
    ) -> None:
        self._module, self._inputs, self._outputs = module, inputs, outputs

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Every output of the answer kind by name; the first axis is the batch.

        Raises:
            InputMismatchError: a name, dtype, shape or number of rows is not the model's.
        """
        import torch

        check_inputs(self._inputs, inputs)
        with torch.inference_mode():
            answers = self._module(*(torch.from_numpy(inputs[spec.name]) for spec in self._inputs))
        return {name: values.numpy() for name, values in zip(self._outputs, answers, strict=True)}

    def fresh(self) -> TorchSession:
        """Itself: a network has no memory."""
        return self
