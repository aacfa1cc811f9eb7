"""Run a study: each loop in each arm under each seed, and one artifact of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edgeloop import plugins
from edgeloop.loop.keys import made_by
from edgeloop.loop.runner import Offline, OnStep, StepResult, nobody, run_check, run_offline
from edgeloop.loop.study_file import StudyFile, Variant
from edgeloop.loop.study_result import Compare, Point, StudyResult, point
from edgeloop.loop.study_statistics import Interval
from edgeloop.plugins import Tracker
from edgeloop.store.artifacts import Store
from edgeloop.types import Artifact, Finding, Progress, silent

OnVariant: TypeAlias = Callable[[Variant, int], None]  # (what begins, under which seed)


def unheard(variant: Variant, seed: int) -> None:
    """An ``on_variant`` that tells nobody."""


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """What a run of a study made."""

    result: StudyResult
    artifact: Artifact
    steps: tuple[StepResult, ...]

    @property
    def executed(self) -> int:
        """How many steps had to run."""
        return sum(step.executed for step in self.steps)


def run_study(
    study: StudyFile,
    store: Store,
    *,
    tracker: Tracker | None = None,
    progress: Progress = silent,
    on_variant: OnVariant = unheard,
    on_step: OnStep = nobody,
) -> StudyRun:
    """Every loop, arm and seed up to the measure, by the steps and keys of ``edgeloop run``.

    A step that the store has does not run again, whichever arm or loop made it. No gate stops
    anything, and nothing is released. What was not measured is in the result, with its reason.
    """
    taken: list[StepResult] = []

    def step(one: StepResult) -> None:
        taken.append(one)
        on_step(one)

    work = _Work(study, store, tracker, progress, on_variant, step)
    with store.layout.in_use():
        points = tuple(work.points())
        compare = _compare(study)
        result = compare.run(points)
        parents = list(dict.fromkeys([*(one.finding for one in points), *work.paired]))
        how = made_by("study", compare, parents=parents, seed=0, folder=study.folder)
        kept = store.by_key(how.key) or store.keep(result, how, parents)
        store.layout.tag(f"{study.name}-study", kept.digest)
    return StudyRun(result=result, artifact=kept, steps=tuple(taken))


def _compare(study: StudyFile) -> Compare:
    settings = study.settings
    return Compare(
        study=settings.study,
        question=settings.question,
        measure=settings.measure,
        baseline=settings.baseline,
        seeds=settings.seeds,
        loops={name: loop.override for name, loop in settings.loops.items()},
        arms=settings.arms,
    )


@dataclass
class _Work:
    """The repetitions of a study, as they are made."""

    study: StudyFile
    store: Store
    tracker: Tracker | None
    progress: Progress
    on_variant: OnVariant
    on_step: OnStep
    paired: list[str] = field(default_factory=list)  # digests of the findings over rows

    def points(self) -> Iterator[Point]:
        """Every loop and seed, and of these every arm."""
        for loop in self.study.settings.loops:
            arms = [one for one in self.study.variants if one.loop == loop]
            for seed in self.study.settings.seeds:
                yield from self._arms(arms, seed)

    def _arms(self, arms: Sequence[Variant], seed: int) -> Iterator[Point]:
        """The baseline first, so that the others can be held against it."""
        baseline: Offline | None = None
        for variant in arms:
            self.on_variant(variant, seed)
            made = self._made(variant, seed)
            (kept,) = made.findings
            paired = self._over_rows(variant, seed, made, baseline) if baseline else None
            baseline = baseline or made
            found = Finding.from_meta(kept.meta)
            yield point(variant.loop, variant.arm, seed, kept.digest, found, paired)

    def _made(self, variant: Variant, seed: int) -> Offline:
        return run_offline(
            variant.at(seed),
            self.store,
            tracker=self.tracker,
            progress=self.progress,
            on_step=self.on_step,
        )

    def _over_rows(
        self, variant: Variant, seed: int, made: Offline, baseline: Offline
    ) -> Interval | None:
        """The interval of this arm minus the baseline on the same held-out rows.

        None where the measure names no check of such a difference, where both arms have not the
        same rows, and where it was not measured.
        """
        check = _paired_check(variant)
        if check is None or made.rows.digest != baseline.rows.digest:
            return None
        kept = run_check(
            variant.at(seed),
            self.store,
            check,
            made,
            reference=baseline.model,
            progress=self.progress,
            on_step=self.on_step,
        )
        self.paired.append(kept.digest)
        drop = Finding.from_meta(kept.meta).interval  # of baseline minus arm
        return None if drop is None else (-drop[1], -drop[0])


def _paired_check(variant: Variant) -> Any:
    """The check that gives what the measure drops from a reference, on the same rows; or None."""
    (measure,) = variant.file.checks.values()
    name = getattr(type(measure), "paired_by", "")
    return plugins.get("check", name)() if name else None
