"""The step ``generate``: a language model's own step, how its answer is drawn token by token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, NoReturn

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.errors import ModelError
from edgeloop.runtimes.program.steps import step
from edgeloop.types import TensorSpec

GENERATE = "generate"
GIVES = (
    TensorSpec(name="text", dtype="str", shape=()),
    TensorSpec(name="tokens", dtype="int64", shape=()),
    TensorSpec(name="probability", dtype="float32", shape=()),
)


@step(GENERATE)
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Generate:
    """At the most ``most`` tokens behind the prompt, until the model ends its turn.

    ``temperature`` 0 takes the likeliest token each time; above, tokens are drawn with ``seed``.
    An answer ends before any text of ``stop``. ``context`` is how many tokens prompt and answer
    may have together; an answer that reaches its end ends there.
    """

    most: Annotated[int, Field(ge=1, le=8192)] = 64
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    stop: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    context: Annotated[int, Field(ge=256, le=131_072, multiple_of=256)] = 512

    libraries: ClassVar[tuple[str, ...]] = ("xllamacpp",)

    def gives(self, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """``text``, ``tokens`` and ``probability``, whatever comes in."""
        return GIVES

    def open(self, files: Mapping[str, Path]) -> NoReturn:  # noqa: ARG002
        """Never: the runtime itself is this step.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            f"step {GENERATE!r} of the program",
            "must stand last in the program of a gguf model",
            todo="Other formats have the step 'graph' there",
        )
