"""What a study found: each arm's values, and how far each arm is from the baseline. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgeloop.loop.study_statistics import Interval, deviation, over_rows, over_seeds
from edgeloop.types import Finding, Json

DIFFERS, NOT_SHOWN, NOT_MEASURED = "differs", "no difference shown", "not measured"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One arm of one loop under one seed: what the measure said, and which artifact says it.

    ``paired`` is the interval, over the held-out rows, of this arm's value minus the baseline's.
    """

    loop: str
    arm: str
    seed: int
    finding: str  # digest
    value: float | None
    unit: str
    reason: str  # why there is no value
    paired: Interval | None = None


def point(
    loop: str, arm: str, seed: int, digest: str, finding: Finding, paired: Interval | None
) -> Point:
    """The point of a finding."""
    return Point(
        loop=loop,
        arm=arm,
        seed=seed,
        finding=digest,
        value=finding.value,
        unit=finding.unit,
        reason="" if finding.value is not None else finding.reason or "it has no value",
        paired=paired,
    )


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm of one loop. ``mean`` is None without a seed, ``deviation`` with fewer than 2."""

    loop: str
    arm: str
    seeds: int  # that were measured
    mean: float | None
    deviation: float | None
    unit: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against the baseline under the same seeds, value minus the baseline's value.

    It ``differs`` when every interval that there is leaves out 0. ``over_seeds`` says what other
    seeds would give on the same rows, ``over_rows`` what other rows would give.
    """

    loop: str
    arm: str
    seeds: int
    differences: Mapping[str, float]  # by seed
    mean: float | None
    over_seeds: Interval | None
    over_rows: Interval | None
    verdict: str  # "differs", "no difference shown", "not measured"
    reason: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The finding of a study; all JSON. Its parents are the findings that it is made of."""

    study: str
    question: str
    measure: str
    baseline: str
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    points: tuple[Point, ...]
    kind: str = "study"

    @property
    def not_measured(self) -> tuple[Point, ...]:
        """What has no value, and is in no mean and no comparison."""
        return tuple(one for one in self.points if one.value is None)

    @property
    def files(self) -> Mapping[str, Path]:
        """A study is all JSON."""
        return {}

    def to_meta(self) -> Json:
        """The whole result as JSON."""
        told = {key: value for key, value in asdict(self).items() if key != "kind"}
        return {**told, "not_measured": [asdict(one) for one in self.not_measured]}


@dataclass(frozen=True, kw_only=True)
class Compare:
    """The study's own step: findings in, result out. Its fields are what was asked."""

    study: str
    question: str
    measure: str
    baseline: str
    seeds: tuple[int, ...]
    loops: Mapping[str, Mapping[str, Any]]  # name -> its overrides
    arms: Mapping[str, Mapping[str, Any]]

    plugin_name: ClassVar[str] = "study.v1"

    def run(self, points: Sequence[Point]) -> StudyResult:
        """Arms and comparisons, loop by loop, in the order of the study file."""
        by_arm = {
            (loop, arm): [one for one in points if (one.loop, one.arm) == (loop, arm)]
            for loop in self.loops
            for arm in self.arms
        }
        return StudyResult(
            study=self.study,
            question=self.question,
            measure=self.measure,
            baseline=self.baseline,
            arms=tuple(_arm(several) for several in by_arm.values()),
            comparisons=tuple(
                compared(several, by_arm[loop, self.baseline])
                for (loop, arm), several in by_arm.items()
                if arm != self.baseline
            ),
            points=tuple(points),
        )


def _arm(points: Sequence[Point]) -> ArmResult:
    values = [one.value for one in points if one.value is not None]
    return ArmResult(
        loop=points[0].loop,
        arm=points[0].arm,
        seeds=len(values),
        mean=statistics.fmean(values) if values else None,
        deviation=deviation(values),
        unit=points[0].unit,
    )


def compared(points: Sequence[Point], baseline: Sequence[Point]) -> Comparison:
    """One arm against the baseline, under the seeds that have a value in both."""
    base = {one.seed: one.value for one in baseline if one.value is not None}
    both = [one for one in points if one.value is not None and one.seed in base]
    differences = {one.seed: (one.value or 0.0) - base[one.seed] for one in both}
    seeds = over_seeds(list(differences.values()))
    rows = over_rows([one.paired for one in both if one.paired])
    verdict, reason = judged(list(differences.values()), seeds, rows)
    return Comparison(
        loop=points[0].loop,
        arm=points[0].arm,
        seeds=len(both),
        differences={str(seed): value for seed, value in differences.items()},
        mean=statistics.fmean(differences.values()) if differences else None,
        over_seeds=seeds,
        over_rows=rows,
        verdict=verdict,
        reason=reason,
        unit=points[0].unit,
    )


def judged(
    differences: Sequence[float], seeds: Interval | None, rows: Interval | None
) -> tuple[str, str]:
    """The verdict, and why it is no other. Without two repetitions there is none."""
    if len(differences) < 2:
        return NOT_MEASURED, "fewer than 2 seeds have a value in both arms"
    if not any(differences):
        return NOT_SHOWN, "every seed gives the baseline's value"
    there = {name: one for name, one in (("seeds", seeds), ("rows", rows)) if one}
    if not there:
        return NOT_MEASURED, "every seed gives the same difference: there is no spread to judge by"
    across = [name for name, (low, high) in there.items() if low <= 0 <= high]
    if across:
        return NOT_SHOWN, _said(across, "holds 0", "hold 0")
    return DIFFERS, _said(list(there), "leaves out 0", "leave out 0")


def _said(over: Sequence[str], one: str, both: str) -> str:
    """``the interval over seeds holds 0``, ``the intervals over seeds and over rows hold 0``."""
    if len(over) == 1:
        return f"the interval over {over[0]} {one}"
    return f"the intervals over {' and over '.join(over)} {both}"
