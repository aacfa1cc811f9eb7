"""The answer kind ``series``: numbers at several horizons, each with an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers import spread
from edgeloop.plugins import register

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays, Json

Horizon = Annotated[int, Field(ge=1)]


@register("answer", "series.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Series:
    """``value``, ``low`` and ``high``, float32[n, horizons] each; NaN in a row without an answer.

    ``horizons`` are readings ahead, nearest first. ``level`` is the share of truths that
    the intervals promise to hold. ``scale``, in the unit of the values, is the step in which errors
    are told: the mean error of the seasonal naive forecast on past data makes 1 mean "no better
    than that".
    """

    horizons: Annotated[tuple[Horizon, ...], Field(min_length=1)]
    level: Annotated[float, Field(gt=0, lt=1)] = 0.9
    scale: Annotated[float, Field(gt=0)] = 1.0

    outputs: ClassVar[tuple[str, ...]] = ("value", "low", "high")
    quality_name: ClassVar[str] = "nearness"

    def parity(self, got: Arrays, want: Arrays, tolerance: float) -> Array:
        """bool[n]: every number within ``tolerance`` times ``scale`` of the other's."""
        mine, theirs = ([side[name] for name in self.outputs] for side in (got, want))
        return spread.same(mine, theirs, tolerance * self.scale)

    def disagreement(self, one: Arrays, other: Arrays) -> Array:
        """float64[n] in 0..1: the share of both intervals that they do not have in common."""
        return spread.apart((one["low"], one["high"]), (other["low"], other["high"]))

    def claims(self, answers: Arrays) -> dict[str, Array]:
        """``width`` float64[n] in 0..1: how wide intervals are, beside the size of the values."""
        return {"width": spread.width(answers["value"], answers["low"], answers["high"])}

    def quality(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: 1 / (1 + error in units of ``scale``); 0.5 is an error of one."""
        found: Array = 1 / (1 + self.errors(answers, truth))
        return found

    def errors(self, answers: Arrays, truth: Array) -> Array:
        """float64[n]: mean distance from the truth, in units of ``scale``."""
        return spread.error(answers["value"], truth, self.scale)

    def covered(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: the share of the horizons whose truth lies in its interval."""
        return spread.within(answers["low"], answers["high"], truth)

    def strata(self, truth: Array) -> dict[str, Array]:  # noqa: ARG002
        """None are known."""
        return {}

    def evidence(self, answers: Arrays, truth: Array) -> Json:
        """A picture of the farthest horizon beside its truth, and the error of each horizon."""
        return {"pictures": [self._followed(answers, truth), self._bars(answers, truth)]}

    def features(self, answers: Arrays) -> dict[str, Array]:
        """float64[n] per named feature of an answer; what the device's sketches watch."""
        return {
            "answer.value": spread.feature(answers["value"]),
            "answer.width": self.claims(answers)["width"],
        }

    def describe(self, answers: Arrays, row: int) -> Json:
        """One answer as an application reads it; null in place of numbers when there is none."""
        told = {name: [_number(one) for one in answers[name][row]] for name in self.outputs}
        return {"horizons": list(self.horizons), "level": self.level, **told}

    def truth(self, stated: Json) -> list[float]:
        """What came to pass, one number per horizon, as a target value.

        Raises:
            ValueError: it is not a list of so many finite numbers.
        """
        return spread.stated(stated, len(self.horizons))

    def check_truth(self, truth: Array) -> None:
        """Return when a target column holds one number per horizon.

        Raises:
            ValueError: it does not; the rule and what was got.
        """
        spread.check_target(truth, (len(self.horizons),))

    def tally(self, truth: Array) -> Json:
        """``unknown``: rows whose truth is not known at every horizon."""
        import numpy as np

        return {"unknown": int(np.isnan(truth).any(axis=1).sum())}

    def _followed(self, answers: Arrays, truth: Array) -> Json:
        columns = {name: spread.table(answers[name])[:, -1] for name in self.outputs}
        title = f"answers and truth, {self.horizons[-1]} readings ahead"
        return spread.lines(title, {"truth": spread.table(truth)[:, -1], **columns})

    def _bars(self, answers: Arrays, truth: Array) -> Json:
        import numpy as np

        gaps = np.abs(spread.table(answers["value"]) - spread.table(truth)) / self.scale
        known = gaps[~np.isnan(gaps).any(axis=1)]
        return {
            "kind": "bars",
            "title": "error by horizon",
            "names": [str(horizon) for horizon in self.horizons] if len(known) else [],
            "values": [round(float(one), 6) for one in known.mean(axis=0)] if len(known) else [],
            "unit": f"times {self.scale:g}",
        }


def _number(value: Array) -> float | None:
    return None if value != value else round(float(value), 6)  # noqa: PLR0124  (NaN)
