"""The step ``constants``: tensors beside the graph that it is loaded with, such as an adapter's.

A graph names these tensors and leaves their numbers open, so that its own bytes stay the same when
only they change, and an update is their file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from edgeloop.errors import MissingExtraError, ModelError
from edgeloop.runtimes.program.steps import step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeloop.types import Array, Arrays, TensorSpec

LARGEST = 256 * 2**20  # bytes of a file of tensors


@step("constants")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Constants:
    """The tensors of the safetensors ``file``, by their names in the graph."""

    file: str = "adapter.safetensors"

    libraries: ClassVar[tuple[str, ...]] = ("safetensors",)

    def gives(self, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        """The same inputs: constants are no input."""
        return inputs

    def open(self, files: Mapping[str, Path]) -> Constants:  # noqa: ARG002
        """Itself: who loads the graph asks for :meth:`tensors`."""
        return self

    def run(self, feed: Arrays) -> dict[str, Array]:
        """The feed as it is."""
        return dict(feed)

    def fresh(self) -> Constants:
        """Itself: no memory."""
        return self

    def tensors(self, files: Mapping[str, Path]) -> dict[str, Array]:
        """By name, for the graph.

        Raises:
            MissingExtraError: safetensors is not installed.
            ModelError: the file is missing, too large, or holds no tensors.
        """
        try:
            from safetensors import SafetensorError
            from safetensors.numpy import load
        except ImportError as error:
            raise MissingExtraError(
                "safetensors",
                "must be installed to load a graph with constants",
                todo="pip install 'edgeloop[text]'",
            ) from error
        try:
            with files[self.file].open("rb") as stream:
                content = stream.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise _broken(self.file, f"more than {LARGEST} bytes")
            return dict(load(content))
        except (KeyError, OSError, SafetensorError, ValueError) as error:
            got = "none" if isinstance(error, KeyError) else error
            raise _broken(self.file, got) from error


def _broken(file: str, got: object) -> ModelError:
    return ModelError(
        f"model file {file}",
        f"must hold tensors (safetensors), {LARGEST} bytes or fewer",
        got=got,
        todo="Build the model again; `edgeloop verify` tells which blobs are broken",
    )
