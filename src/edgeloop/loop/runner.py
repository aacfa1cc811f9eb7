"""Run the offline half of a loop: data to signed release, each step only when its key is new."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from edgeloop import durable, plugins
from edgeloop.errors import ArtifactMissingError, GateError, NotListedError
from edgeloop.loop.file import LoopFile, LoopVariant
from edgeloop.loop.keys import made_by, parameters
from edgeloop.loop.origins import built_model
from edgeloop.loop.steps import MergeField, RunRecord
from edgeloop.plugins import Context, Tracker
from edgeloop.protocol.messages import ChannelList, Listed, ReleaseRef
from edgeloop.release import deltas, papers
from edgeloop.release.build import BuildBundle, BuildVariant, VariantLine
from edgeloop.release.bundle import Bundle, BundleDraft, BundleInfo
from edgeloop.release.model_key import open_key
from edgeloop.release.repository import Repository, read_list
from edgeloop.release.variants import joined
from edgeloop.runtimes.program import before
from edgeloop.store.artifacts import Store
from edgeloop.types import (
    Artifact,
    Budget,
    Finding,
    Keepable,
    Model,
    Progress,
    Snapshot,
    Verdict,
    silent,
)

logger = logging.getLogger(__name__)

EARLIER = 4  # releases before the current one that a check is shown


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """One step of a run: what it made, and whether it had to run."""

    name: str
    artifact: Artifact
    executed: bool
    seconds: float  # inside the step's own work; 0 when it did not run


OnStep: TypeAlias = Callable[[StepResult], None]


def nobody(step: StepResult) -> None:
    """An ``on_step`` that tells nobody."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a trigger brings: rows from the field, and the model to fine-tune.

    ``samples`` is an unsplit snapshot artifact, ``start`` the model artifact that a recipe built,
    ``current`` the bundle that the group runs, which the new release is compared with, and ``rows``
    the split snapshot that it was trained on, so that what earlier turns learned is not forgotten.
    """

    samples: str
    start: str
    current: str
    rows: str
    profile: str  # "field:south"


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run made.

    ``already`` is True when the bundle was on the channel's list before, as ``release``;
    ``newest`` is the newest listed release, which is another one then if more came since.
    """

    steps: tuple[StepResult, ...]
    findings: tuple[Finding, ...]
    bundle: Artifact
    release: ReleaseRef
    already: bool
    newest: int

    @property
    def executed(self) -> int:
        """How many steps had to run."""
        return sum(step.executed for step in self.steps)


def run_loop(
    loop: LoopFile,
    store: Store,
    *,
    turn: Turn | None = None,
    running: Sequence[str] | None = None,
    tracker: Tracker | None = None,
    progress: Progress = silent,
    on_step: OnStep = nobody,
) -> RunResult:
    """Data, recipe, passes, checks, bundle, release: in this order and no other.

    A step whose key the store has does not run. Killed and run again, it goes on behind the last
    step that was kept. ``running`` are the bundles that devices run now, if it is known.

    Raises:
        GateError: a check failed or was not measured; nothing is released, all findings are kept.
    """
    with store.layout.in_use():
        run = _Run(loop, store, tracker, progress, on_step)
        made = run.offline(turn, lambda *of: _compared(loop, store, turn, *of))
        findings = [Finding.from_meta(finding.meta) for finding in made.every_finding]
        run.record()
        stop_unless_all_pass(findings)
        bundle = run.bundle(made)
        before = channel_list(loop)
        listed = before.releases if before else ()
        release = publish(loop, store, bundle, running)
        run.record()
    return RunResult(
        steps=tuple(run.steps),
        findings=tuple(findings),
        bundle=bundle,
        release=release,
        already=any(line.digest == bundle.digest for line in listed),
        newest=max([release.version, *(line.version for line in listed)]),
    )


def _compared(
    loop: LoopFile,
    store: Store,
    turn: Turn | None,
    model: Artifact,
    variants: Sequence[VariantLine],
) -> Artifact | None:
    """The bundle that a run's model is compared with: in a turn, the one that the group runs."""
    return store.open(turn.current) if turn else current_release(loop, store, model, variants)


@dataclass(frozen=True, kw_only=True)
class MadeVariant:
    """What the passes of one variant made of the recipe's model, and what was found of it."""

    declared: LoopVariant
    model: Artifact
    findings: tuple[Artifact, ...] = ()

    @property
    def line(self) -> VariantLine:
        """As the bundle step is told of it."""
        when = self.declared.settings.when.conditions()
        return VariantLine(name=self.declared.name, when=when, model=self.model.digest)


@dataclass(frozen=True, kw_only=True)
class Offline:
    """What data, split, recipe, passes and checks made: all that lies before a release."""

    rows: Artifact
    built: Artifact
    model: Artifact
    current: Artifact | None  # the release that the model was compared with
    findings: tuple[Artifact, ...]  # of the main model, in the order of the checks
    variants: tuple[MadeVariant, ...] = ()

    @property
    def every_finding(self) -> tuple[Artifact, ...]:
        """The main model's, then each variant's: one that fails stops the release."""
        return (*self.findings, *(found for one in self.variants for found in one.findings))

    @property
    def given(self) -> _Given:
        """What further steps on the model may need."""
        return _Given(snapshot=self.rows, reference=self.built, current=self.current)


def run_offline(
    loop: LoopFile,
    store: Store,
    *,
    tracker: Tracker | None = None,
    progress: Progress = silent,
    on_step: OnStep = nobody,
) -> Offline:
    """The main pipeline up to its checks, compared with no release; no gate stops, no variant.

    Nothing is released. For a caller that holds ``store.layout.in_use()``.
    """
    alone = replace(loop, variants=())
    return _Run(alone, store, tracker, progress, on_step).offline(None, lambda *_: None)


def run_check(
    loop: LoopFile,
    store: Store,
    check: Any,
    made: Offline,
    *,
    reference: Artifact,
    progress: Progress = silent,
    on_step: OnStep = nobody,
) -> Artifact:
    """One more check of a model that :func:`run_offline` made, against another ``reference``."""
    run = _Run(loop, store, None, progress, on_step)
    return run.found(check, made.model, _Given(snapshot=made.rows, reference=reference))


def stop_unless_all_pass(findings: Sequence[Finding]) -> None:
    """Raise GateError that names every check which did not pass."""
    stopped = [finding for finding in findings if finding.verdict is not Verdict.PASS]
    if stopped:
        lines = "\n  ".join(_line(finding) for finding in stopped)
        raise GateError(
            "release",
            f"stopped by {len(stopped)} of {len(findings)} checks:\n  {lines}",
            todo="Nothing was released",
        )


def _line(finding: Finding) -> str:
    value = (
        "" if finding.value is None else f" {finding.value:.6g}{finding.unit and ' '}{finding.unit}"
    )
    limit = f", limit {finding.limit}" if finding.limit else ""
    reason = f" ({finding.reason})" if finding.reason else ""
    of = f"variant {finding.variant}, " if finding.variant else ""
    return f"{of}{finding.check}: {finding.verdict}{value}{limit}{reason}"


def publish(
    loop: LoopFile, store: Store, bundle: Artifact, running: Sequence[str] | None = None
) -> ReleaseRef:
    """Sign a bundle onto the loop's channel and make it a root of the store. Twice is once.

    Deltas lead to it from the bundles that devices are ``running``, or, where nobody was asked,
    from the newest that are listed.
    """
    release = loop.settings.release
    key = open_key(loop.path(release.keys))
    repository = Repository(loop.path(release.repository), loop.path(release.keys))
    repository.create((release.channel,))
    pending = f"{loop.name}-{release.channel}-pending"
    store.layout.tag(pending, bundle.digest)  # a root before it is listed, for a kill in between
    info = BundleInfo.model_validate(bundle.meta)
    listing = repository.listing(loop.name, release.channel)
    ref = repository.publish(
        store.layout.read(bundle.digest),
        name=loop.name,
        channel=release.channel,
        plan=loop.settings.rollout.plan(),
        targets=loop.settings.targets,
        needs=info.needs,
        alternatives=info.alternatives,
        deltas=deltas.to_release(store, bundle.digest, listing, running, release.deltas),
    )
    store.layout.tag(f"{loop.name}-{release.channel}-{ref.version}", bundle.digest)
    store.layout.untag(pending)
    papers.attach(store, ref, key)
    return ref


def current_release(
    loop: LoopFile, store: Store, model: Artifact, variants: Sequence[VariantLine] = ()
) -> Artifact | None:
    """The bundle that ``model`` is compared with; None for a first release.

    A model that was released on this channel before, by the same bundle step, keeps what it was
    compared with then, so that the same run gives the same release whatever came after it.
    Otherwise: the newest release that is listed now.
    """
    listing = channel_list(loop)
    if listing is None:
        return None
    released = {line.digest for line in listing.releases}
    released |= {line.digest for line in listing.delisted}
    for child in store.children(model.digest):
        if child.digest in released and _same_step(child, bundle_step(loop, None, variants)):
            against = BundleInfo.model_validate(child.meta).declared[0].against
            return store.open(against) if against else None
    return _newest_kept(store, listing.releases)


def _newest_kept(store: Store, lines: Sequence[Listed]) -> Artifact | None:
    """The newest listed bundle that the store has; a lost store begins again."""
    for line in reversed(lines):
        try:
            return store.open(line.digest)
        except ArtifactMissingError as fault:
            logger.warning("run.lost release=%d fault=%s", line.version, fault)
    return None


def channel_list(loop: LoopFile) -> ChannelList | None:
    """The signed list of the loop's channel; None where nothing was ever published."""
    release = loop.settings.release
    repository = loop.path(release.repository)
    if not (repository / "metadata").exists():
        return None
    try:
        return read_list(repository, loop.name, release.channel)
    except NotListedError:  # a channel that is new: publishing makes it
        return None


def bundle_step(
    loop: LoopFile, current: Artifact | None, variants: Sequence[VariantLine] = ()
) -> BuildBundle:
    """The bundle step that a loop file asks for."""
    settings = loop.settings
    return BuildBundle(
        name=loop.name,
        targets=settings.targets,
        golden=settings.release.golden,
        tolerance=settings.release.tolerance,
        latency_ms=settings.release.latency,
        memory_mb=settings.release.memory_mb,
        against=current.digest if current else None,
        variants=tuple(variants),
    )


def variant_step(loop: LoopFile, variant: LoopVariant, current: Artifact | None) -> BuildVariant:
    """The step that measures one variant; what it does not say is as the release has it."""
    settings, told = loop.settings.release, variant.settings
    return BuildVariant(
        name=loop.name,
        golden=settings.golden,
        tolerance=told.tolerance or settings.tolerance,
        latency_ms=told.latency or settings.latency,
        memory_mb=told.memory_mb or settings.memory_mb,
        against=current.digest if current else None,
    )


def _same_step(bundle: Artifact, step: BuildBundle) -> bool:
    """Whether a bundle was made with these parameters, whatever it was compared with."""
    made = {**bundle.made_by.params, "against": None}
    return made == {**parameters(step), "against": None}


@dataclass(frozen=True, kw_only=True)
class _Given:
    """The artifacts that a step's ``needs`` may name."""

    snapshot: Artifact | None = None
    reference: Artifact | None = None
    current: Artifact | None = None
    start: Artifact | None = None

    def artifact(self, name: str) -> Artifact | None:
        found: Artifact | None = getattr(self, name)
        return found

    def value(self, name: str) -> Snapshot | Model | None:
        artifact = self.artifact(name)
        if artifact is None:
            return None
        return open_snapshot(artifact) if name == "snapshot" else open_model(artifact)

    def current_variants(self) -> dict[str, Model]:
        """The variants of the current release, by name."""
        return {} if self.current is None else open_variants(self.current)


def _compared_with(bundle: Artifact | None) -> str | None:
    """The digest of the release before."""
    if bundle is None:
        return None
    return BundleInfo.model_validate(bundle.meta).declared[0].against


def open_model(artifact: Artifact) -> Model:
    """The model of a model or bundle artifact."""
    meta = artifact.meta["model"] if artifact.kind == "bundle" else artifact.meta
    return Model.from_meta(meta, artifact.files)


def open_variants(bundle: Artifact) -> dict[str, Model]:
    """The models of a bundle artifact's variants beside its main one, by name."""
    info = BundleInfo.model_validate(bundle.meta)
    opened = Bundle(digest=bundle.digest, info=info, files=bundle.files)
    return {one.name: opened.of(one.name).model for one in info.variants}


def open_snapshot(artifact: Artifact) -> Snapshot:
    """The snapshot of a snapshot artifact."""
    return Snapshot.from_meta(artifact.meta, artifact.files)


Current: TypeAlias = Callable[[Artifact, Sequence[VariantLine]], Artifact | None]


def _as_it_is(made: Keepable) -> Keepable:
    """What a step made, with nothing added."""
    return made


class _NotMadeError(Exception):
    """The store has nothing under the key of a step that only looks."""


@dataclass
class _Run:
    """The steps of one run, as they are taken."""

    loop: LoopFile
    store: Store
    tracker: Tracker | None
    progress: Progress
    on_step: OnStep
    steps: list[StepResult] = field(default_factory=list)
    answered: dict[Any, Any] = field(default_factory=dict)  # see plugins.Context
    looks_only: bool = False  # takes what the store has, and runs nothing

    def offline(self, turn: Turn | None, current: Current) -> Offline:
        """Data, split, recipe, passes, checks; ``current`` is asked what to compare with."""
        rows = self.rows(turn)
        toward = self._toward(rows, turn)
        built, model, variants = self.models(rows, turn, toward)
        against = current(model, [one.line for one in variants])
        given = _Given(snapshot=rows, reference=built, current=against)
        checks = self.loop.checks.items()
        return Offline(
            rows=rows,
            built=built,
            model=model,
            current=against,
            findings=tuple(self.found(check, model, given, name) for name, check in checks),
            variants=tuple(self.checked(one, given) for one in variants),
        )

    def models(
        self, rows: Artifact, turn: Turn | None, toward: Artifact | None
    ) -> tuple[Artifact, Artifact, list[MadeVariant]]:
        """The recipe's model, that behind the passes, and those behind each variant's own.

        A step that variants share does not run twice.
        """
        built = self.build(rows, turn, toward)
        given = _Given(snapshot=rows, reference=built, current=toward)
        model = self.passed(self.loop.passes, built, given)
        variants = [
            MadeVariant(declared=one, model=self.passed(one.passes, built, given, one.name))
            for one in self.loop.variants
        ]
        return built, model, variants

    def _toward(self, rows: Artifact, turn: Turn | None) -> Artifact | None:
        """The release that recipe and passes go toward, where one of them asks for it.

        In a turn the one that the group runs; else the newest. A run that was released is that run
        again, and goes toward what it went toward then.
        """
        of_variants = (each for one in self.loop.variants for each in one.passes)
        recipe = self.loop.fine_tune if turn else self.loop.recipe
        asked = (recipe, *self.loop.passes, *of_variants)
        if all("current" not in plugins.needs(each) for each in asked):
            return None
        if turn is not None:
            return self.store.open(turn.current)
        listing = channel_list(self.loop)
        lines = listing.releases if listing else ()
        for line in reversed(lines):
            before, same = self._made_before(line.digest, rows)
            if same:
                return before
        return _newest_kept(self.store, lines)

    def _made_before(self, digest: str, rows: Artifact) -> tuple[Artifact | None, bool]:
        """What a release went toward, and whether this run, towards that, makes it again."""
        try:
            bundle = self.store.open(digest)
            against = _compared_with(bundle)
            before = self.store.open(against) if against else None
            looking = replace(self, steps=[], on_step=nobody, looks_only=True)
            _, model, variants = looking.models(rows, None, before)
        except (ArtifactMissingError, _NotMadeError):
            return None, False
        step = bundle_step(self.loop, None, [one.line for one in variants])
        return before, model.digest in bundle.parents and _same_step(bundle, step)

    def checked(self, one: MadeVariant, given: _Given) -> MadeVariant:
        """A variant with what its checks found."""
        of = one.declared
        found = (self.found(c, one.model, given, name, of.name) for name, c in of.checks.items())
        return replace(one, findings=tuple(found))

    def rows(self, turn: Turn | None) -> Artifact:
        """The split snapshot; with a turn, that of the current release and the field's rows."""
        if turn is not None:
            return self._merged(turn)
        source, split = self.loop.source, self.loop.split
        data = self._step("data", "source", source, source.load, ())
        whole = open_snapshot(data)
        return self._step("split", "split", split, lambda c: split.run(whole, c), (data,))

    def _merged(self, turn: Turn) -> Artifact:
        rows, samples = self.store.open(turn.rows), self.store.open(turn.samples)
        merge = MergeField(profile=turn.profile, split=self.loop.split)
        old, fresh = open_snapshot(rows), open_snapshot(samples)
        return self._step(
            "merge", "data", merge, lambda c: merge.run(old, fresh, c), (rows, samples)
        )

    def build(self, rows: Artifact, turn: Turn | None, toward: Artifact | None) -> Artifact:
        """The recipe's model; one that goes toward a release starts from that one's."""
        recipe = self.loop.fine_tune if turn else self.loop.recipe
        snapshot = open_snapshot(rows)
        start = self.store.open(turn.start) if turn else None
        if start is None and toward is not None and "current" in plugins.needs(recipe):
            start = built_model(self.store, toward.digest)
        parents = (rows,) if start is None else (rows, start)
        return self._step(
            "recipe",
            "recipe",
            recipe,
            lambda c: recipe.build(snapshot, c),
            parents,
            given=_Given(snapshot=rows, start=start),
        )

    def passed(
        self, passes: Sequence[Any], built: Artifact, given: _Given, variant: str = ""
    ) -> Artifact:
        """The model behind the last of ``passes``."""
        model = built
        for each in passes:
            model = self._on_model("pass", each, model, given, variant=variant)
        return model

    def found(
        self, check: Any, model: Artifact, given: _Given, name: str = "", variant: str = ""
    ) -> Artifact:
        """One check's finding, by the loop file's ``name``; that it failed stops nothing here."""
        named = name if name != _named(check) else ""

        def finish(made: Keepable) -> Keepable:
            if not isinstance(made, Finding) or not (named or variant):
                return made
            return replace(made, check=named or made.check, variant=variant)

        called = _of(variant, name) if variant else named
        return self._on_model(
            "check", check, model, given, called=called, variant=variant, finish=finish
        )

    def bundle(self, made: Offline) -> Artifact:
        """The bundle; its parents are the model, all that was found of it, and its variants."""
        given = made.given
        parts = {one.declared.name: (one.line.when, self.part(one, given)) for one in made.variants}
        build = bundle_step(self.loop, given.current, [one.line for one in made.variants])
        found = tuple(step.artifact for step in self.steps if step.artifact.kind == "finding")

        def finish(draft: Keepable) -> Keepable:
            return joined(draft, parts) if isinstance(draft, BundleDraft) and parts else draft

        parents = (*found, *(part for _, part in parts.values()))
        return self._on_model("bundle", build, made.model, given, parents, finish=finish)

    def part(self, one: MadeVariant, given: _Given) -> Artifact:
        """A variant measured as a bundle is, before it is joined."""
        name, build = one.declared.name, variant_step(self.loop, one.declared, given.current)
        return self._on_model("bundle", build, one.model, given, variant=name)

    def record(self) -> None:
        """Keep what this run did as an artifact of its own, and as a root."""
        record = RunRecord(
            loop=self.loop.name, steps={s.name: s.artifact.digest for s in self.steps}
        )
        made = [s.artifact.digest for s in self.steps]
        how = made_by("run", record, parents=made, seed=0, folder=self.loop.folder)
        kept = self.store.by_key(how.key) or self.store.keep(record, how, made)
        self.store.layout.tag(f"{self.loop.name}-run", kept.digest)

    def _on_model(
        self,
        kind: str,
        plugin: Any,
        model: Artifact,
        given: _Given,
        parents: Sequence[Artifact] = (),
        *,
        called: str = "",
        variant: str = "",
        finish: Callable[[Keepable], Keepable] = _as_it_is,
    ) -> Artifact:
        """A step whose first parent is a model, followed by what the plugin needs.

        One that is ``called`` otherwise than its plugin has a key of its own; ``finish`` has the
        last hand in what it makes.
        """
        opened = open_model(model)
        needed = [a for need in plugins.needs(plugin) if (a := given.artifact(need)) is not None]
        models = [opened, *(open_model(a) for a in needed if a.kind in {"model", "bundle"})]
        models += given.current_variants().values() if "current" in plugins.needs(plugin) else []
        reached = [plugins.get("answer", opened.answer.kind), *_runtimes(models)]
        return self._step(
            called or _of(variant, _named(plugin)),
            kind,
            plugin,
            lambda context: finish(plugin.run(opened, context)),
            (model, *needed, *parents),
            given=given,
            also=reached,
            called=called,
        )

    def _step(
        self,
        name: str,
        kind: str,
        plugin: Any,
        work: Callable[[Context], Keepable],
        parents: Sequence[Artifact],
        *,
        given: _Given | None = None,
        also: Sequence[type] = (),
        called: str = "",
    ) -> Artifact:
        """Take what the store has under the step's key, or run it and keep the result."""
        digests = [parent.digest for parent in parents]
        how = made_by(
            kind,
            plugin,
            parents=digests,
            seed=self.loop.settings.seed,
            folder=self.loop.folder,
            also=also,
            called=called,
            threads=self._threads(kind),
        )
        found = self.store.by_key(how.key)
        if self.looks_only:
            if found is None:
                raise _NotMadeError(name)
            return found
        seconds = 0.0
        if found is None:
            self.progress(name, 0, 1)
            with durable.scratch(f"step {name}") as scratch:
                context = self._context(kind, plugin, scratch, given or _Given())
                began = time.perf_counter()
                value = work(context)
                seconds = time.perf_counter() - began
                kept = self.store.keep(value, how, digests)
        else:
            kept = found
        result = StepResult(name=name, artifact=kept, executed=found is None, seconds=seconds)
        fields = (name, how.plugin, kept.digest[7:19], result.executed, seconds)
        logger.info("step.done name=%s plugin=%s artifact=%s executed=%s seconds=%.2f", *fields)
        self.steps.append(result)
        self.on_step(result)
        return kept

    def _earlier(self, current: Artifact | None) -> dict[str, Model]:
        """The releases before ``current``, by digest: each is what the next was compared with."""
        found: dict[str, Model] = {}
        against = _compared_with(current)
        while against and len(found) < EARLIER and self.store.has(against):
            bundle = self.store.open(against)
            found[against] = open_model(bundle)
            against = _compared_with(bundle)
        return found

    def _threads(self, kind: str) -> int:
        return self.loop.settings.threads if kind == "recipe" else 1

    def _context(self, kind: str, plugin: Any, scratch: Path, given: _Given) -> Context:
        """Only what the plugin says that it needs, so that its key tells the truth."""
        values: dict[str, Any] = {need: given.value(need) for need in plugins.needs(plugin)}
        if "current" in values:
            values["current_variants"] = given.current_variants()
            values["earlier"] = self._earlier(given.current)
        return Context(
            scratch=scratch,
            folder=self.loop.folder,
            seed=self.loop.settings.seed,
            progress=self.progress,
            tracker=self.tracker,
            budget=Budget(threads=self._threads(kind)),
            answered=self.answered,
            **values,
        )


def _runtimes(models: Sequence[Model]) -> list[type]:
    """The runtimes that load these models, and the steps of their programs.

    A form that nothing runs yet has none.
    """
    known = {name.rpartition(".v")[0] for name in plugins.names("runtime")}
    formats = sorted({model.format for model in models} & known)
    steps = [type(step) for model in models for step in before(model)]
    return [*(plugins.get("runtime", one) for one in formats), *steps]


def _named(plugin: Any) -> str:
    """A plugin's name without its version."""
    return str(type(plugin).plugin_name).rpartition(".v")[0]


def _of(variant: str, name: str) -> str:
    """A step's name: that of a variant has the variant in front."""
    return f"{variant}.{name}" if variant else name
