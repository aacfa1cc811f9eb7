"""Make a bundle of a checked model: golden samples, and what is declared of each profile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.errors import ModelError
from edgeloop.plugins import get
from edgeloop.release.bundle import BundleDraft, BundleInfo, DeclaredProfile, DeviceLimits, Golden
from edgeloop.sketches.features import summarise, summary_for
from edgeloop.sketches.profile import Profile

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Arrays, Model, Session, Snapshot


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BuildBundle:
    """Parameters of the bundle step. ``against`` is the digest of the current release's bundle."""

    name: str
    targets: tuple[str, ...] = ()
    golden: Annotated[int, Field(ge=1)] = 16
    tolerance: Annotated[float, Field(gt=0)] = 0.02
    latency_ms: float | None = None
    memory_mb: float | None = None
    against: str | None = None

    plugin_name: ClassVar[str] = "bundle.v1"
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime", "datasketches")
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
        current = context.session(context.current) if context.current else None
        signals = {spec.name: summary_for(spec) for spec in model.inputs}
        files = {**model.files, **self._golden(snapshot, session, context.scratch)}
        declared = []
        for number, name in enumerate(snapshot.profiles):
            feed = _rows(snapshot, number, "test")
            answers = session.run(feed)
            others = current.run(feed) if current else None
            files |= _written(
                context.scratch, number, _sketched(model, _rows(snapshot, number), answers, signals)
            )
            declared.append(self._declare(name, model, answers, others))
        return BundleDraft(info=self._info(model, signals, tuple(declared)), files=files)

    def _info(
        self, model: Model, signals: dict[str, str], declared: tuple[DeclaredProfile, ...]
    ) -> BundleInfo:
        return BundleInfo(
            name=self.name,
            runtime=model.format,
            targets=self.targets,
            signals=signals,
            golden=Golden(rows=self.golden, tolerance={"any": self.tolerance}),
            limits=DeviceLimits(latency_ms=self.latency_ms, memory_mb=self.memory_mb),
            declared=declared,
            model=model.to_meta(),
        )

    def _golden(self, snapshot: Snapshot, session: Session, scratch: Path) -> dict[str, Path]:
        """Rows spread evenly over the held-out part, with this graph's own answers."""
        import numpy as np

        feed = snapshot.feed("test")
        rows = np.linspace(0, len(next(iter(feed.values()))) - 1, self.golden).astype(int)
        inputs = {name: values[rows] for name, values in feed.items()}
        named = {f"golden-in.{name}": values for name, values in inputs.items()}
        named |= {f"golden-out.{name}": values for name, values in session.run(inputs).items()}
        for name, values in named.items():
            np.save(scratch / f"{name}.npy", np.ascontiguousarray(values), allow_pickle=False)
        return {f"{name}.npy": scratch / f"{name}.npy" for name in named}

    def _declare(
        self, profile: str, model: Model, answers: Arrays, others: Arrays | None
    ) -> DeclaredProfile:
        """What held-out rows of one profile say: confidence, and disagreement with the current."""
        kind = open_kind(model.answer)
        confidence = kind.confidence(answers)
        return DeclaredProfile(
            profile=profile,
            rows=len(confidence),
            disagreement=_mean(kind.disagreement(answers, others)) if others else 0.0,
            confidence=_mean(confidence),
            against=self.against,
        )


def _rows(snapshot: Snapshot, profile: int, part: str | None = None) -> Arrays:
    """The inputs of one profile, of one part when named."""
    chosen = snapshot.column("profile", part) == profile
    return {name: values[chosen] for name, values in snapshot.feed(part).items()}


def _sketched(model: Model, inputs: Arrays, answers: Arrays, signals: dict[str, str]) -> Profile:
    """Inputs of all rows, since more rows make a calmer reference; answers of held-out rows."""
    profile = Profile()
    profile.update(summarise(inputs, signals))
    profile.update(open_kind(model.answer).features(answers))
    return profile


def _mean(values: Array) -> float:
    return round(float(values.mean()), 6) if len(values) else 0.0


def _written(scratch: Path, number: int, profile: Profile) -> dict[str, Path]:
    path = scratch / f"profile-{number}.json"
    path.write_text(json.dumps(profile.to_json(), sort_keys=True))
    return {path.name: path}
