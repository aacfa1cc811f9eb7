"""The answer kind ``number``: one number, with an interval when a level is promised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers import spread
from edgeloop.plugins import register

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays, Json


@register("answer", "number.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Number:
    """``value`` float32[n], and with a ``level`` also ``low`` and ``high``; NaN for no answer.

    ``level`` is the share of truths that the interval promises to hold; None: no interval.
    ``scale``, in the unit of the value, is the step in which errors are told.
    """

    level: Annotated[float, Field(gt=0, lt=1)] | None = None
    scale: Annotated[float, Field(gt=0)] = 1.0

    quality_name: ClassVar[str] = "nearness"

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the graph must give."""
        return ("value",) if self.level is None else ("value", "low", "high")

    def parity(self, got: Arrays, want: Arrays, tolerance: float) -> Array:
        """bool[n]: every number within ``tolerance`` times ``scale`` of the other's."""
        mine, theirs = ([side[name] for name in self.outputs] for side in (got, want))
        return spread.same(mine, theirs, tolerance * self.scale)

    def disagreement(self, one: Arrays, other: Arrays) -> Array:
        """float64[n] in 0..1: what two intervals do not share; else the distance, at most 1.

        The distance of two numbers without intervals is in units of ``scale``.
        """
        import numpy as np

        if self.level is not None:
            return spread.apart((one["low"], one["high"]), (other["low"], other["high"]))
        gap: Array = np.minimum(spread.error(one["value"], other["value"], self.scale), 1.0)
        return gap

    def claims(self, answers: Arrays) -> dict[str, Array]:
        """``width`` float64[n] in 0..1 where there is an interval; nothing without."""
        if self.level is None:
            return {}
        return {"width": spread.width(answers["value"], answers["low"], answers["high"])}

    def quality(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: 1 / (1 + error in units of ``scale``); 0.5 is an error of one."""
        found: Array = 1 / (1 + self.errors(answers, truth))
        return found

    def errors(self, answers: Arrays, truth: Array) -> Array:
        """float64[n]: distance from the truth, in units of ``scale``."""
        return spread.error(answers["value"], truth, self.scale)

    def covered(self, answers: Arrays, truth: Array) -> Array:
        """float64[n]: 1 where the truth lies in the interval; NaN without intervals."""
        import numpy as np

        if self.level is None:
            return np.full(len(truth), np.nan)
        return spread.within(answers["low"], answers["high"], truth)

    def strata(self, truth: Array) -> dict[str, Array]:  # noqa: ARG002
        """None are known."""
        return {}

    def evidence(self, answers: Arrays, truth: Array) -> Json:
        """A picture of the answers beside their truths."""
        columns = {name: spread.table(answers[name])[:, 0] for name in self.outputs}
        truths = spread.table(truth)[:, 0]
        return {"pictures": [spread.lines("answers and truth", {"truth": truths, **columns})]}

    def features(self, answers: Arrays) -> dict[str, Array]:
        """float64[n] per named feature of an answer; what the device's sketches watch."""
        widths = {f"answer.{name}": values for name, values in self.claims(answers).items()}
        return {"answer.value": spread.feature(answers["value"]), **widths}

    def describe(self, answers: Arrays, row: int) -> Json:
        """One answer as an application reads it; null in place of a number that is not there."""
        numbers = {name: float(spread.table(answers[name])[row, 0]) for name in self.outputs}
        return {name: None if one != one else round(one, 6) for name, one in numbers.items()}  # noqa: PLR0124  (NaN)

    def truth(self, stated: Json) -> float:
        """The number that came to pass, as a target value.

        Raises:
            ValueError: it is not a finite number.
        """
        return spread.stated(stated, 1)[0]

    def check_truth(self, truth: Array) -> None:
        """Return when a target column holds one number per row.

        Raises:
            ValueError: it does not; the rule and what was got.
        """
        spread.check_target(truth, ())

    def tally(self, truth: Array) -> Json:
        """``unknown``: rows whose truth is not known."""
        import numpy as np

        return {"unknown": int(np.isnan(truth).sum())}
