"""Turn columns of numbers and texts into the one table of numbers that trees compare.

A missing number is NaN in the table, and so is a missing text (``""``) where training saw some.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from edgeloop.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeloop.types import Array, Arrays

NAME = "encoding.json"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Column:
    """One column of the table: a number as it is (``codes`` None), or the code of a text.

    ``unseen`` is the code of every text that ``codes`` lacks; of a missing one too, unless ``gaps``
    says that training saw missing ones. Codes are float32, as graphs compare.
    """

    name: str
    codes: dict[str, float] | None = None
    unseen: float = 0.0
    gaps: bool = False

    def of_texts(self) -> dict[str, float]:
        """The code of each text that is known; NaN for the missing one where training saw some."""
        return {**(self.codes or {}), **({"": float("nan")} if self.gaps else {})}

    def encoded(self, values: Array) -> Array:
        """float32[n] of this column's numbers, or of its texts' codes."""
        import numpy as np

        if self.codes is None:
            return values.astype(np.float32)
        codes = self.of_texts()
        found = (codes.get(text, self.unseen) for text in values.tolist())
        return np.fromiter(found, dtype=np.float32, count=len(values))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Encoding:
    """The columns that trees look at, in the order of their features."""

    columns: Annotated[tuple[Column, ...], Field(min_length=1)]

    def table(self, inputs: Arrays) -> Array:
        """float32[n, columns]; inputs that no column names are not looked at."""
        import numpy as np

        return np.stack([one.encoded(inputs[one.name]) for one in self.columns], axis=1)

    def save(self, folder: Path) -> Path:
        """Write ``encoding.json``; the same encoding gives the same bytes."""
        path = folder / NAME
        path.write_bytes(TypeAdapter(Encoding).dump_json(self))
        return path


def load(files: Mapping[str, Path]) -> Encoding:
    """The encoding of a model's files.

    Raises:
        ModelError: it is missing, or no whole encoding.
    """
    try:
        return TypeAdapter(Encoding).validate_json(files.get(NAME, Path(NAME)).read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelError(
            f"model file {NAME}",
            "must say how each column becomes numbers",
            got=str(error).splitlines()[0],
            todo="Build the model again; `edgeloop verify` tells which blobs are broken",
        ) from error
