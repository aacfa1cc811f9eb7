"""Close the loop: look for drift, and when the trigger fires, learn from the field and roll out.

Everything that is decided here is noted in the control plane's audit log (``trigger.*``), and that
log is the only memory: a watcher that was killed carries on where the log says it was. Each note
names model and channel, and a watcher reads those of its own: several loops share a control plane.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.dataclasses import dataclass as plugin

from edgeloop import durable
from edgeloop.answers import open_kind
from edgeloop.arrayfiles import decoded, dtype_of
from edgeloop.clock import Clock
from edgeloop.data.snapshot import write
from edgeloop.errors import (
    ArtifactMissingError,
    DataError,
    GateError,
    InputError,
    ProtocolError,
    SamplesError,
)
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.views import (
    AuditLine,
    DeviceView,
    SampleRequestView,
    SampleView,
    WindowView,
)
from edgeloop.loop.file import LoopFile, OnDrift
from edgeloop.loop.keys import made_by
from edgeloop.loop.origins import built_model, learned_rows
from edgeloop.loop.runner import OnStep, RunResult, Turn, nobody, open_snapshot, run_loop
from edgeloop.plugins import Tracker
from edgeloop.protocol.messages import ReleaseRef, RolloutState, Window
from edgeloop.release.bundle import open_kept
from edgeloop.sketches.profile import Profile
from edgeloop.store.artifacts import Store
from edgeloop.store.manifest import digest_of
from edgeloop.types import Artifact, Progress, Snapshot, silent
from edgeloop.watch.drift import DriftLimits, GroupDrift, assess
from edgeloop.watch.trigger import Decision, Move, decide

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays

logger = logging.getLogger(__name__)

ALARM, WAITING, FIRED = "trigger.alarm", "trigger.waiting", "trigger.fired"
ASKED, LEARNED, STARTED = "trigger.samples_requested", "trigger.learned", "trigger.rollout"
GAVE_UP = "trigger.gave_up"
NEWEST = 500  # windows of a group that are held in memory
LEAST_SAMPLES = 30  # of fewer, no part of a split says anything
ACTIVE = (RolloutState.RUNNING, RolloutState.PAUSED)


@plugin(frozen=True, kw_only=True)
class FieldRows:
    """The rows that devices sent for one request, as a snapshot; ``content`` is their digest."""

    request: int
    select: str
    content: str

    plugin_name: ClassVar[str] = "field.v1"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)


@dataclass(kw_only=True)
class Watcher:
    """Watches one loop's fleet. ``step`` once in a while; it returns what it found."""

    loop: LoopFile
    store: Store
    fleet: FleetClient
    clock: Clock
    tracker: Tracker | None = None
    progress: Progress = silent
    on_step: OnStep = nobody
    _seen: dict[tuple[str, str], tuple[list[Window], int]] = field(default_factory=dict)

    def step(self) -> Decision:
        """Look at every group once; finish a turn that was fired, or fire one.

        Raises:
            SamplesError: too few samples came home for a fine-tune.
            GateError: the new model did not pass; the fleet keeps what it has.
            FleetError: the control plane cannot be asked.
        """
        unfinished = self._unfinished()
        if unfinished is not None:
            self._turn(unfinished)
            return Decision(
                move=Move.FIRE, group=unfinished.subject, reason="carried on", fired=True
            )
        drifts = self.assess()
        if not drifts:
            label = self.loop.settings.watch.label
            release = f"{self._channel}/{self.loop.name}"
            told = f"no device with a label {label!r} has said that it runs {release}"
            return Decision(move=Move.CALM, reason=told)
        decision = decide(drifts, rollout_running=self._rollout_running())
        worst = next((one for one in drifts if one.group == decision.group), None)
        if worst is None:
            return decision
        self._note_once(ALARM, worst, decision.reason)
        if decision.move is Move.WAIT:
            self._note_once(WAITING, worst, "a rollout is running")
        elif self.loop.settings.watch.on_drift and not self._noted(
            FIRED, worst.group, worst.bundle
        ):
            self._turn(self._note(FIRED, worst, decision.reason))
            return replace(decision, fired=True)
        return decision

    def assess(self) -> list[GroupDrift]:
        """The drift of every group whose devices report a bundle that the store knows."""
        watch = self.loop.settings.watch
        limits = DriftLimits(
            psi=watch.drift.psi, features=watch.drift.features, answers=watch.window
        )
        found = []
        for group, bundle in self._running(watch.label).items():
            try:
                references = open_kept(self.store, bundle).references()
            except ArtifactMissingError as fault:  # a device says that it runs what we never made
                logger.warning("watch.unknown group=%s fault=%s", group, fault)
                continue
            windows = self._windows(f"{watch.label}={group}", bundle)
            found.append(assess(group, bundle, windows, references, limits))
        return found

    def _windows(self, select: str, bundle: str) -> list[Window]:
        """The newest windows of a group; what was seen before is not asked for again."""
        kept, since = self._seen.get((select, bundle), ([], 0))
        while page := self.fleet.windows(select=select, bundle=bundle, since=since):
            since = page[-1].seq
            kept = [*kept, *(view.window for view in page if _whole(view))][-NEWEST:]
        self._seen[select, bundle] = (kept, since)
        return kept

    def _rollout_running(self) -> bool:
        ours = (r for r in self.fleet.rollouts() if (r.name, r.channel) == self._follows)
        return any(rollout.state in ACTIVE for rollout in ours)

    @property
    def _channel(self) -> str:
        return self.loop.settings.release.channel

    @property
    def _follows(self) -> tuple[str, str]:
        """What a device follows that is watched here: model and channel."""
        return self.loop.name, self._channel

    def _devices(self) -> list[DeviceView]:
        """The devices of this loop that are served and listened to."""
        found = [d for d in self.fleet.devices(self.loop.name) if d.channel == self._channel]
        return [d for d in found if not (d.decommissioned or d.revoked)]

    def _bundles(self) -> list[ReleaseRef]:
        """What the devices run, each once for each device that has reported."""
        reports = [device.report for device in self._devices()]
        return [one.running for one in reports if one is not None and one.running is not None]

    def _running(self, label: str) -> dict[str, str]:
        """Group -> the bundle of this loop that most of its devices run."""
        counts: dict[str, Counter[str]] = {}
        for device in self._devices():
            running = device.report.running if device.report else None
            if running is None or (running.name, running.channel) != self._follows:
                continue
            if label in device.labels:
                counts.setdefault(device.labels[label], Counter())[running.digest] += 1
        return {group: count.most_common(1)[0][0] for group, count in sorted(counts.items())}

    # one turn

    def _turn(self, fired: AuditLine) -> None:
        """One turn; one that cannot succeed is noted, so that it is not tried for ever."""
        group, bundle = fired.subject, str(fired.detail["bundle"])
        try:
            self._learn(group, bundle)
        except (GateError, InputError, SamplesError) as fault:
            detail = {"bundle": bundle, "reason": str(fault)}
            self._write(GAVE_UP, group, detail)
            raise

    def _learn(self, group: str, bundle: str) -> None:
        """Samples, fine-tune, release, rollout; each noted, so that a killed turn carries on."""
        request = self._ask(group, bundle)
        samples = self._wait(request)
        rows = self._keep(samples, request, bundle)
        turn = Turn(
            samples=rows.digest,
            start=built_model(self.store, bundle).digest,
            current=bundle,
            rows=learned_rows(self.store, bundle).digest,
            profile=f"field:{group}",
        )
        result = run_loop(
            self.loop,
            self.store,
            turn=turn,
            running=sorted({one.digest for one in self._bundles()}),
            tracker=self.tracker,
            progress=self.progress,
            on_step=self.on_step,
        )
        self._roll_out(group, bundle, result)

    def _ask(self, group: str, bundle: str) -> SampleRequestView:
        asked = self._noted(ASKED, group, bundle)
        if asked is not None:
            return next(r for r in self.fleet.sample_requests() if r.id == asked.detail["request"])
        label = self.loop.settings.watch.label
        members = [d for d in self._devices() if d.labels.get(label) == group]
        count = self._on_drift().samples
        each = math.ceil(count / max(1, len(members)))
        request = self.fleet.request_samples(f"{label}={group}", count, each, model=self.loop.name)
        detail = {"bundle": bundle, "request": request.id, "count": count}
        self._write(ASKED, group, detail)
        return request

    def _wait(self, request: SampleRequestView) -> Sequence[SampleView]:
        """Until the budget is full or time is up; devices that sleep are not waited for."""
        deadline = self.clock.monotonic() + self._on_drift().wait
        while self.clock.monotonic() < deadline:
            now = next(r for r in self.fleet.sample_requests() if r.id == request.id)
            self.progress("samples", now.received, now.count)
            if now.closed is not None or now.received >= now.count:
                break
            self.clock.sleep(0.5)
        samples = list(self.fleet.samples(request.id))
        if len(samples) < LEAST_SAMPLES:
            raise SamplesError(
                f"sample request {request.id} to {request.select}",
                f"must bring {LEAST_SAMPLES} samples to learn from",
                got=len(samples),
                todo="Devices give samples only when they opted in and people confirm answers",
            )
        return samples

    def _keep(
        self, samples: Sequence[SampleView], request: SampleRequestView, bundle: str
    ) -> Artifact:
        """The samples as a snapshot artifact; the same samples give the same artifact."""
        old = learned_rows(self.store, bundle)
        ordered = sorted(samples, key=lambda one: one.sample.answer)
        content = digest_of("\n".join(s.sample.model_dump_json() for s in ordered).encode())
        rows = FieldRows(request=request.id, select=request.select, content=content)
        how = made_by("source", rows, parents=[old.digest], seed=0, folder=self.loop.folder)
        known = self.store.by_key(how.key)
        if known is not None:
            return known
        with durable.scratch("samples") as scratch:
            fresh = _snapshot(ordered, open_snapshot(old), request, scratch)
            return self.store.keep(fresh, how)

    def _roll_out(self, group: str, bundle: str, result: RunResult) -> None:
        release = result.release
        detail = {"bundle": bundle, "version": release.version, "digest": release.digest}
        self._write(LEARNED, group, detail)
        known = [r for r in self.fleet.rollouts() if r.digest == release.digest]
        rollout = (
            known[-1]
            if known
            else self.fleet.create_rollout(release.name, release.channel, release.version)
        )
        self._write(STARTED, group, {**detail, "rollout": rollout.id})
        logger.info("turn.done group=%s version=%d rollout=%d", group, release.version, rollout.id)

    def _on_drift(self) -> OnDrift:
        found = self.loop.settings.watch.on_drift
        if found is None:
            raise LookupError("a turn needs watch.on_drift")
        return found

    # the audit log as memory

    def _notes(self) -> list[AuditLine]:
        noted = (line for line in self.fleet.audit() if line.action.startswith("trigger."))
        return [line for line in noted if self._is_ours(line)]

    def _is_ours(self, line: AuditLine) -> bool:
        """A note that names no model is of a time when a control plane had one loop."""
        said = (line.detail.get("model"), line.detail.get("channel"))
        return said in {self._follows, (None, None)}

    def _write(self, action: str, group: str, detail: Mapping[str, Any]) -> AuditLine:
        model, channel = self._follows
        return self.fleet.note(action, group, {"model": model, "channel": channel, **detail})

    def _noted(self, action: str, group: str, bundle: str) -> AuditLine | None:
        found = (
            line
            for line in self._notes()
            if (line.action, line.subject, line.detail.get("bundle")) == (action, group, bundle)
        )
        return next(found, None)

    def _note_once(self, action: str, drift: GroupDrift, reason: str) -> None:
        if self._noted(action, drift.group, drift.bundle) is None:
            self._note(action, drift, reason)

    def _note(self, action: str, drift: GroupDrift, reason: str) -> AuditLine:
        detail = {
            "bundle": drift.bundle,
            "reason": reason,
            "psi": dict(drift.psi),
            "profile": drift.profile,
            "answers": drift.answers,
        }
        return self._write(action, drift.group, detail)

    def _unfinished(self) -> AuditLine | None:
        """A trigger that fired, and neither started a rollout nor gave up."""
        notes = self._notes()
        ended = {_about(line) for line in notes if line.action in {STARTED, GAVE_UP}}
        fired = (line for line in notes if line.action == FIRED)
        return next((line for line in fired if _about(line) not in ended), None)


def _whole(view: WindowView) -> bool:
    """Whether a device's sketches can be read; one broken device does not blind the watcher."""
    try:
        Profile.from_json(view.window.sketches)
    except ProtocolError as fault:
        logger.warning("watch.broken device=%s fault=%s", view.name, fault)
        return False
    return True


def _about(line: AuditLine) -> tuple[str, str]:
    """Group and bundle of a note; a bundle has one turn per group."""
    return line.subject, str(line.detail.get("bundle"))


def _snapshot(
    samples: Sequence[SampleView], old: Snapshot, request: SampleRequestView, scratch: Path
) -> Snapshot:
    """Rows in the columns of ``old``; a sample that does not fit them is refused by name."""
    import numpy as np

    kind = open_kind(old.answer)
    specs = {spec.name: spec for spec in old.input_specs()}
    rows: dict[str, list[Array]] = {name: [] for name in specs}
    truths = []
    for one in samples:
        for name, spec in specs.items():
            value = _array(one, name)
            if (dtype_of(value), value.shape) != (spec.dtype, (1, *spec.shape)):
                raise DataError(
                    f"sample {one.sample.answer} of device {one.device}",
                    f"must have input {name} as {spec.dtype}{[1, *spec.shape]}",
                    got=f"{dtype_of(value)}{list(value.shape)}",
                )
            rows[name].append(value)
        truths.append(kind.truth(one.sample.truth))
    inputs = {name: np.concatenate(values) for name, values in rows.items()}
    target = np.asarray(truths, dtype=old.column(old.target).dtype)
    order = _in_time([one.device for one in samples], inputs)
    return write(
        name=old.name,
        inputs={name: values[order] for name, values in inputs.items()},
        target=(old.target, target[order]),
        answer=old.answer,
        scratch=scratch,
        provenance=_provenance(samples, request),
    )


def _in_time(devices: Sequence[str], inputs: Arrays) -> Array:
    """The order of rows where an input is a time, else as they are.

    Device by device, since each sees a series of its own; then by time, one row of each.
    """
    import numpy as np

    times = [values for values in inputs.values() if values.dtype.kind == "M"]
    if not times:
        return np.arange(len(devices))
    numbers = np.unique(devices, return_inverse=True)[1]
    both = np.stack([numbers, times[0].reshape(-1).astype("int64")])
    order: Array = np.unique(both, axis=1, return_index=True)[1]
    return order


def _provenance(samples: Sequence[SampleView], request: SampleRequestView) -> Mapping[str, Any]:
    devices = Counter(one.device for one in samples)
    return {"origin": "field", "request": request.id, "devices": dict(sorted(devices.items()))}


def _array(one: SampleView, name: str) -> Array:
    try:
        return decoded({name: one.sample.inputs[name]})[name]
    except (KeyError, ValueError, EOFError) as fault:
        raise DataError(
            f"sample {one.sample.answer} of device {one.device}",
            f"must have input {name} as a .npy or a JSON list in base64",
            got=repr(fault),
        ) from fault
