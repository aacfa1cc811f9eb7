"""Give every row its part by its time: the oldest rows train, the newest test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from edgeloop.data.snapshot import with_column
from edgeloop.errors import DataError
from edgeloop.plugins import register
from edgeloop.types import PARTS

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot


@register("split", "by_time.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ByTime:
    """Rows in the order of the column ``by``: first to train, then to validate, then to test.

    ``test`` and ``validation`` are shares of all rows, 0 to 1; the rest is for training. Nothing is
    drawn: a forecaster that saw a row's future would be measured too well.
    """

    by: str = "time"
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1

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
            DataError: no such column, or too few rows for three parts.
        """
        names = [column.name for column in snapshot.columns]
        if self.by not in names:
            raise DataError(
                f"split by {self.by!r}",
                f"must name a column of snapshot {snapshot.name}",
                todo=f"Columns: {', '.join(names)}",
            )
        parts = self.parts(snapshot.column(self.by))
        return with_column(snapshot, "split", parts, context.scratch)

    def parts(self, strata: Array, *, rare: bool = False) -> Array:
        """uint8[n]: the part of each row; ``strata`` holds the rows' times.

        With ``rare`` rows that are too few for three parts are all for training.

        Raises:
            DataError: without ``rare``, there are fewer rows than parts.
        """
        import numpy as np

        parts = np.full(len(strata), PARTS.index("train"), dtype=np.uint8)
        test = max(1, round(self.test * len(strata)))
        validation = max(1, round(self.validation * len(strata)))
        if test + validation >= len(strata):
            if rare:
                return parts
            rule = f"must have a row for each of {', '.join(PARTS)}"
            raise DataError("rows to split by time", rule, got=f"{len(strata)} rows")
        newest = np.argsort(strata, kind="stable")[::-1]
        parts[newest[:test]] = PARTS.index("test")
        parts[newest[test : test + validation]] = PARTS.index("validation")
        return parts
