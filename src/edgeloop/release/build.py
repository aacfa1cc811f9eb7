"""Make a bundle of a checked model: golden samples, and what is declared of each profile."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop import arrayfiles
from edgeloop.answers import open_kind
from edgeloop.checks.held_out import held_out, known
from edgeloop.errors import ModelError
from edgeloop.plugins import get
from edgeloop.release.bundle import (
    GOLDEN,
    MAIN,
    BundleDraft,
    BundleInfo,
    DeclaredProfile,
    DeviceLimits,
    Golden,
    UsedWhen,
)
from edgeloop.release.variants import KIND
from edgeloop.runtimes.program import memory, needs, rows_at, stretches
from edgeloop.sketches.features import summaries_for, summarise
from edgeloop.sketches.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Arrays, Model, Session, Snapshot


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class VariantLine:
    """One variant that a bundle is joined of; ``model`` is its model's digest."""

    name: str
    when: UsedWhen
    model: str


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BuildBundle:
    """Parameters of the bundle step. ``against`` is the digest of the current release's bundle.

    What it gives is of the main graph alone; ``variants`` say what else it is joined of.
    """

    name: str
    targets: tuple[str, ...] = ()
    golden: Annotated[int, Field(ge=1)] = 16
    tolerance: Annotated[float, Field(gt=0)] = 0.02
    latency_ms: float | None = None
    memory_mb: float | None = None
    against: str | None = None
    variants: tuple[VariantLine, ...] = ()

    plugin_name: ClassVar[str] = "bundle.v1"
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "datasketches")
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "current")

    def run(self, model: Model, context: Context) -> BundleDraft:
        """The bundle of ``model``, measured on held-out rows, with the current release beside."""
        if getattr(get("runtime", model.format), "reference_only", False):
            raise ModelError(
                f"model of form {model.format!r}",
                "must be in a form that devices run",
                todo="Add a pass that exports it, e.g. export_onnx",
            )
        snapshot = context.data()
        session = context.session(model)
        signals = summaries_for(snapshot.feed())
        files = {**model.files, **self._golden(model, snapshot, session, context.scratch)}
        rows = held_out(model, context)
        answers, profiles = rows.answers(model, context), rows.profile
        currents = {name: rows.answers(one, context) for name, one in _currents(context).items()}
        declared = []
        for number, name in enumerate(snapshot.profiles):
            held = rows_at(answers, profiles == number)
            sketched = _sketched(model, _inputs(snapshot, number), held, signals)
            files |= _written(context.scratch, number, sketched)
            beside = {n: rows_at(one, profiles == number) for n, one in currents.items()}
            declared.append(self._declare(name, model, held, beside))
        return BundleDraft(info=self._info(model, signals, tuple(declared)), files=files)

    def _info(
        self, model: Model, signals: dict[str, str], declared: tuple[DeclaredProfile, ...]
    ) -> BundleInfo:
        return BundleInfo(
            name=self.name,
            runtime=model.format,
            steps=needs(model.program),
            targets=self.targets,
            signals=signals,
            golden=Golden(rows=self.golden, tolerance={"any": self.tolerance}),
            limits=DeviceLimits(latency_ms=self.latency_ms, memory_mb=self.memory_mb),
            declared=declared,
            model=model.to_meta(),
        )

    def _golden(
        self, model: Model, snapshot: Snapshot, session: Session, scratch: Path
    ) -> dict[str, Path]:
        """Held-out rows with this model's own answers.

        Spread evenly; where the model remembers rows, the newest of the longest stretch, so many
        that it answers.
        """
        import numpy as np

        feed = snapshot.feed("test")
        count = len(next(iter(feed.values())))
        places = np.linspace(0, count - 1, self.golden).astype(int)
        if past := memory(model):
            longest = max(stretches(model, feed), key=lambda one: one.stop - one.start)
            first = max(longest.start, longest.stop - 1 - past - self.golden)
            places = np.arange(first, longest.stop)
        inputs = rows_at(feed, places)
        named = {f"in.{name}": values for name, values in inputs.items()}
        answers = session.fresh().run(inputs)
        named |= {f"out.{name}": values for name, values in answers.items()}
        return {GOLDEN: arrayfiles.pack(named, scratch / GOLDEN)}

    def _declare(
        self, profile: str, model: Model, answers: Arrays, currents: Mapping[str, Arrays]
    ) -> DeclaredProfile:
        """What held-out rows of one profile say: claims, and disagreement with the current."""
        kind = open_kind(model.answer)
        differs = {n: _mean(kind.disagreement(answers, one)) for n, one in currents.items()}
        return DeclaredProfile(
            profile=profile,
            rows=len(next(iter(answers.values()))),
            disagreement=differs.pop(MAIN, 0.0),
            claims={
                name: _mean(values)
                for name, values in kind.claims(answers).items()
                if len(known(values))  # of what no held-out row has, nothing can be said
            },
            against=self.against,
            beside=differs,
        )


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BuildVariant(BuildBundle):
    """The same of one graph more, which is not a bundle until it is joined with the main one."""

    plugin_name: ClassVar[str] = "variant.v1"

    def run(self, model: Model, context: Context) -> BundleDraft:
        """One graph, measured on held-out rows."""
        return replace(super().run(model, context), kind=KIND)


def _currents(context: Context) -> dict[str, Model]:
    """The main graph and the variants of the current release, by name."""
    main = {} if context.current is None else {MAIN: context.current}
    return {**main, **context.current_variants}


def _inputs(snapshot: Snapshot, profile: int) -> Arrays:
    """The inputs of one profile."""
    return rows_at(snapshot.feed(), snapshot.column("profile") == profile)


def _sketched(model: Model, inputs: Arrays, answers: Arrays, signals: dict[str, str]) -> Profile:
    """Inputs of all rows, since more rows make a calmer reference; answers of held-out rows."""
    profile = Profile()
    profile.update(summarise(inputs, signals))
    profile.update(open_kind(model.answer).features(answers))
    return profile


def _mean(values: Array) -> float:
    """Of the rows that have an answer."""
    found = known(values)
    return round(float(found.mean()), 6) if len(found) else 0.0


def _written(scratch: Path, number: int, profile: Profile) -> dict[str, Path]:
    path = scratch / f"profile-{number}.json"
    path.write_text(json.dumps(profile.to_json(), sort_keys=True))
    return {path.name: path}
