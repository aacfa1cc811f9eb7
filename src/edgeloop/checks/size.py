"""How many bytes the model's files have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.limits import at_most
from edgeloop.plugins import register
from edgeloop.quantities import Size as Bytes
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "size.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Size:
    """Bytes of all files of the model, at most ``max`` (bytes, or text such as ``300 kB``).

    ``max`` None measures without a limit.
    """

    max: Annotated[Bytes, Field(gt=0)] | None = None

    def run(self, model: Model, context: Context) -> Finding:  # noqa: ARG002  (the contract's)
        """Value in bytes, and the size of each file."""
        sizes = {name: path.stat().st_size for name, path in sorted(model.files.items())}
        value = sum(sizes.values())
        verdict, limit = at_most(value, self.max, "bytes")
        return Finding(
            check="size",
            verdict=verdict,
            value=float(value),
            unit="bytes",
            limit=limit,
            evidence={"files": sizes},
        )
