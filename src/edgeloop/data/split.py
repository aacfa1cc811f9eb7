"""Give every row its part: train, validation or test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from edgeloop.data.snapshot import with_column
from edgeloop.errors import DataError
from edgeloop.plugins import register
from edgeloop.types import PARTS

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot


@register("split", "stratified.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Stratified:
    """Seeded split in which every value of the column ``by`` has the same share in each part.

    ``test`` and ``validation`` are shares of all rows, 0 to 1; the rest is for training.
    ``by`` None means the target column.
    """

    by: str | None = None
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: Annotated[int, Field(ge=0)] = 7

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError("test + validation must be below 1: nothing is left to train on")
        return self

    def run(self, snapshot: Snapshot, context: Context) -> Snapshot:
        """The same snapshot with the column ``split`` (uint8[rows], index into ``PARTS``).

        Raises:
            DataError: no such column, or a value of it has too few rows for three parts.
        """
        name = self.by or snapshot.target
        if name not in {column.name for column in snapshot.columns}:
            raise DataError(
                f"split by {name!r}",
                f"must name a column of snapshot {snapshot.name}",
                todo=f"Columns: {', '.join(column.name for column in snapshot.columns)}",
            )
        parts = self.parts(snapshot.column(name))
        return with_column(snapshot, "split", parts, context.scratch)

    def parts(self, values: Array, *, rare: bool = False) -> Array:
        """uint8[n]: the part of each row; ``values`` are any that can be sorted, one per row.

        Rows of several values each (boxes, a series) are all alike to it.
        With ``rare`` the rows of all values that have too few for three parts are divided together,
        and are for training where even these are too few.

        Raises:
            DataError: without ``rare``, a value has fewer rows than parts.
        """
        import numpy as np

        values = values if values.ndim == 1 else np.zeros(len(values))
        generator = np.random.default_rng(self.seed)
        parts = np.full(len(values), PARTS.index("train"), dtype=np.uint8)
        few = []
        for one in np.unique(values):
            rows = np.flatnonzero(values == one)
            if self._divided(rows, parts, generator):
                continue
            if not rare:
                raise DataError(
                    f"value {one!s} of the column to split by",
                    f"must have a row for each of {', '.join(PARTS)}",
                    got=f"{len(rows)} rows",
                    todo="Add rows, or leave this value out",
                )
            few.append(rows)
        if few:
            self._divided(np.concatenate(few), parts, generator)
        return parts

    def _divided(self, rows: Array, parts: Array, generator: Any) -> bool:
        """Give ``rows`` their parts, in ``parts``; False when there are too few."""
        test = max(1, round(self.test * len(rows)))
        validation = max(1, round(self.validation * len(rows)))
        if test + validation >= len(rows):
            return False
        order = generator.permutation(rows)
        parts[order[:test]] = PARTS.index("test")
        parts[order[test : test + validation]] = PARTS.index("validation")
        return True
