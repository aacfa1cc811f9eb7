"""A loop's whole story as a control plane would tell it: eight devices, three releases, one bad."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from edgeloop.fleet.events import Event
from edgeloop.fleet.views import AuditLine, DeviceView, RolloutView, WindowView
from edgeloop.loop.file import LoopFile, Structure
from edgeloop.protocol.messages import JobState, RolloutPlan, RolloutState, Window
from edgeloop.release.bundle import BundleDraft, BundleInfo, DeclaredProfile, Golden
from edgeloop.sketches.profile import Profile
from edgeloop.store.artifacts import Store
from edgeloop.store.manifest import layers_of
from edgeloop.types import (
    AnswerSpec,
    Artifact,
    Finding,
    MadeBy,
    Model,
    Snapshot,
    TensorSpec,
    Verdict,
)

START = 1_700_000_000.0
CLASSES = tuple("0123456789")
FEATURES = ("mean", "spread", "dark", "bright", "x", "y", "sharpness", "slant")
IMAGE = TensorSpec(name="image", dtype="uint8", shape=(28, 28))
DEVICES = {f"cam-{n}": "north" if n <= 4 else "south" for n in range(1, 9)}
REASON = "disagreement 0.412 is above the limit 0.093 on inputs like 'clean'"


@dataclass
class Story:
    """Writes artifacts, audit lines, windows and the blob log in the order of the story."""

    folder: Path
    audit: list[AuditLine] = field(default_factory=list)
    windows: list[WindowView] = field(default_factory=list)
    blob_lines: list[str] = field(default_factory=list)
    rollouts: list[RolloutView] = field(default_factory=list)
    bundles: dict[int, Artifact] = field(default_factory=dict)
    keys: int = 0

    def __post_init__(self):
        self.store = Store(self.folder / "store")
        self.rng = np.random.default_rng(7)
        self.random = Random(7)
        watch = {"window": 300, "drift": {"psi": 0.25, "features": 2}}
        settings = {
            "name": "sorter",
            "data": {"source": "x:y"},
            "recipe": {"use": "z"},
            "watch": watch,
        }
        nothing = {"source": None, "split": None, "recipe": None, "fine_tune": None}
        self.loop = LoopFile(
            folder=self.folder,
            settings=Structure.model_validate(settings),
            passes=(),
            checks=(),
            **nothing,
        )

    # the store

    def keep(self, value, plugin, parents=()):
        self.keys += 1
        made_by = MadeBy(plugin=plugin, key=f"{self.keys:064x}", source="0" * 64)
        return self.store.keep(value, made_by, [one.digest for one in parents])

    def file(self, name, data):
        path = self.folder / f"{self.keys}-{name}"
        path.write_bytes(data)
        return {name: path}

    def snapshot(self, plugin, rows, parents=()):
        value = Snapshot(
            name="digits",
            rows=rows,
            columns=(IMAGE, TensorSpec(name="digit", dtype="int64", shape=())),
            inputs=("image",),
            target="digit",
            answer=AnswerSpec(kind="label", params={"classes": list(CLASSES)}),
            files=self.file("digit-00000.npy", f"{plugin} {rows}".encode()),
        )
        return self.keep(value, plugin, parents)

    def model(self, plugin, parents, size, notes=None):
        value = Model(
            format="onnx",
            answer=AnswerSpec(kind="label", params={"classes": list(CLASSES)}),
            inputs=(IMAGE,),
            files=self.file("model.onnx", f"{plugin} {self.keys}".encode().ljust(size, b".")),
            notes=notes or {},
        )
        return self.keep(value, plugin, parents)

    def curves(self, epochs, best):
        fall = [math.exp(-3 * (n + 1) / epochs) for n in range(epochs)]
        noise = [self.random.uniform(-0.01, 0.01) for _ in fall]
        return {
            "learning_rate": [
                0.004 * (0.5 + 0.5 * math.cos(math.pi * n / epochs)) for n in range(epochs)
            ],
            "train_loss": [0.15 + 1.7 * f for f in fall],
            "validation_loss": [0.19 + 1.3 * f + n for f, n in zip(fall, noise, strict=True)],
            "validation_accuracy": [best - 0.6 * f + n for f, n in zip(fall, noise, strict=True)],
        }

    def findings(self, model, current, accuracy, size, latency):
        n = 1000
        half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / n)
        inside = (round(accuracy - half, 4), round(accuracy + half, 4))
        confusion = [[0] * 10 for _ in range(10)]
        for truth in range(10):
            confusion[truth][truth] = round(100 * accuracy)
            for _ in range(100 - round(100 * accuracy)):
                confusion[truth][self.random.choice([k for k in range(10) if k != truth])] += 1
        names = list(CLASSES)
        matrix = {"kind": "matrix", "title": "truth (down) and answer (across)"}
        matrix |= {"rows": names, "columns": names, "cells": confusion}
        evidence = {"pictures": [matrix]}
        found = [
            ("accuracy", accuracy, "", ">= 0.96", inside, evidence),
            ("accuracy_drop", 0.0013, "", "<= 0.01", (-0.002, 0.0046), {}),
            ("worst_class", accuracy - 0.03, "", ">= 0.92", None, {}),
            ("size", size, "bytes", "<= 300 kB", None, {}),
            ("latency_p95", latency, "ms", "<= 5 ms", (latency - 0.05, latency + 0.08), {}),
            ("golden_parity", 1.0, "", ">= 1", None, {}),
        ]
        if current:
            found.append(("disagreement", 0.021, "", "<= 0.05", (0.014, 0.031), {}))
        parents = (model, *([current] if current else []))
        return [self.keep(self.finding(*one), f"check/{one[0]}.v1", parents) for one in found]

    @staticmethod
    def finding(check, value, unit, limit, interval, evidence):
        return Finding(
            check=check,
            verdict=Verdict.PASS,
            value=value,
            unit=unit,
            limit=limit,
            interval=interval,
            evidence=evidence,
        )

    def sketches(self, shift, rows):
        profile = Profile()
        for number, feature in enumerate(FEATURES):
            moved = shift * (0.9, 0.5, 0.7, 1.1, 0.02, 0.03, 0.2, 0.6)[number]
            values = self.rng.normal(number + moved, 1.0, rows)
            profile.update({f"input.image.{feature}": values})
        profile.update({"answer.confidence": self.rng.uniform(0.5, 1.0, rows)})
        return profile.to_json()

    def bundle(self, version, model, current, findings, profiles):
        declared = tuple(
            DeclaredProfile(
                profile=name,
                rows=800,
                disagreement=disagreement,
                claims={"confidence": 0.93},
                against=current.digest if current else None,
            )
            for name, (_, disagreement) in profiles.items()
        )
        files = dict(model.files) | self.file("golden.zip", b"golden samples".ljust(12_700))
        for number, (shift, _) in enumerate(profiles.values()):
            text = json.dumps(self.sketches(shift, 2000), sort_keys=True)
            files |= self.file(f"profile-{number}.json", text.encode())
        info = BundleInfo(
            name="sorter",
            runtime="onnx",
            golden=Golden(rows=16, tolerance={"any": 0.02}),
            declared=declared,
            model=model.meta,
        )
        draft = BundleDraft(info=info, files=files)
        parents = (model, *([current] if current else []), *findings)
        made = self.keep(draft, "bundle/bundle.v1", parents)
        self.store.layout.tag(f"sorter-stable-{version}", made.digest)
        self.bundles[version] = made

    # the fleet

    def line(self, at, action, subject, **detail):
        line = AuditLine(
            id=len(self.audit) + 1,
            time=START + at,
            actor="rules",
            action=str(action),
            subject=subject,
            detail=detail,
        )
        self.audit.append(line)

    def ref(self, version):
        if version is None:
            return None
        return {
            "name": "sorter",
            "channel": "stable",
            "version": version,
            "digest": self.bundles[version].digest,
        }

    def state(self, at, device, to, running, trying=None):
        said = {"running": self.ref(running), "trying": self.ref(trying)}
        self.line(at, Event.DEVICE_STATE, f"device:{key(device)}", to=to, **said)

    def update(self, at, device, rollout, version, before, *, good=True):
        subject = f"device:{key(device)}"
        self.line(at, Event.JOB_OFFERED, subject, rollout=rollout, group=0, stage=0)
        self.state(at + 1, device, "downloading", before, version)
        self.fetch(at + 1, device, version, before)
        self.state(at + 4, device, "probation", before, version)
        if good:
            self.state(at + 11, device, "committed", version)
            self.line(at + 12, Event.JOB_SUCCEEDED, subject, rollout=rollout, group=0, stage=0)
        else:
            self.state(at + 9, device, "rolled back", before)
            reason = f"FAILED_ROLLBACK_COMPLETE: {REASON}"
            self.line(at + 9, Event.JOB_FAILED, subject, rollout=rollout, reason=reason)

    def fetch(self, at, device, version, before):
        """Every blob that the release before does not have, and the signed metadata."""
        has = self.blobs(before) if before else {}
        for digest, size in self.blobs(version).items():
            if digest not in has:
                self.log(at, device, f"/blobs/{digest[7:]}", digest, size)
        self.log(at, device, "/tuf/metadata/timestamp.json", None, 4_200)

    def blobs(self, version):
        digest = self.bundles[version].digest
        named, description = layers_of(self.store.layout.read(digest), digest)
        return {layer.digest: layer.size for layer in (*named, description)}

    def log(self, at, device, path, digest, size):
        line = {"time": START + at, "device": key(device), "path": path, "digest": digest}
        line |= {"offset": 0, "bytes": size, "status": 200}
        self.blob_lines.append(json.dumps(line))

    def rollout(self, number, version, began, ended, state, counts, reason=""):
        subject = f"rollout:{number}"
        self.line(began, Event.ROLLOUT_STARTED, subject, version=version)
        self.rollouts.append(
            RolloutView(
                id=number,
                name="sorter",
                channel="stable",
                version=version,
                digest=self.bundles[version].digest,
                plan=RolloutPlan(),
                targets=(),
                state=state,
                reason=reason,
                opened=(2, 2),
                created=START + began,
                started=START + began,
                ended=START + ended,
                counts=counts,
            )
        )

    def answers(self, device, version, times, shift, quality):
        """A window of 100 answers at each time."""
        for at in times:
            confirmed = 40
            right = int(self.rng.binomial(confirmed, quality))
            number = len(self.windows) + 1
            window = Window(
                id=f"{number:032x}",
                bundle=self.bundles[version].digest,
                version=version,
                began=START + at - 8,
                ended=START + at,
                answers=100,
                confirmed=confirmed,
                quality=right,
                sketches=self.sketches(shift(at), 100),
            )
            labels = {"site": DEVICES[device]}
            self.windows.append(
                WindowView(
                    seq=number,
                    device=key(device),
                    name=device,
                    labels=labels,
                    received=START + at,
                    window=window,
                )
            )

    def devices(self):
        return [
            DeviceView(
                id=key(name),
                name=name,
                labels={"site": site},
                target="linux-x86",
                runtimes=("onnx",),
                agent_version="0.1",
                enrolled=START,
                last_seen=START + 300,
                state="idle",
                report=None,
                hold=False,
                pinned=None,
                decommissioned=False,
            )
            for name, site in DEVICES.items()
        ]

    def given(self):
        """What ``collect`` takes beside loop and store."""
        log = self.folder / "blobs.jsonl"
        log.write_text("\n".join(self.blob_lines) + "\n")
        return {
            "devices": self.devices(),
            "rollouts": self.rollouts,
            "audit": self.audit,
            "windows": sorted(self.windows, key=lambda one: one.received),
            "blob_log": log,
        }


def key(device):
    """A device's id."""
    return f"{int(device[4:]):064x}"


def whole(folder):
    """The story of the issue, from the first release to the third."""
    story = Story(folder)
    _build(story)
    _first_release(story)
    _bad_release(story)
    _turn(story)
    _work(story)
    return story


def _build(story):
    data = story.snapshot("source/builtin.v1", 5000)
    split = story.snapshot("split/stratified.v1", 5000, (data,))
    built = story.model(
        "recipe/image_classifier.v1", (split,), 400_000, {"curves": story.curves(12, 0.985)}
    )
    exported = story.model("pass/export_onnx.v1", (built,), 410_000)
    int8 = story.model("pass/quantize.v1", (exported, split), 141_000)
    found = story.findings(int8, None, 0.978, 141_000, 1.9)
    story.bundle(1, int8, None, found, {"clean": (0.0, 0.0)})
    pruned = story.model("pass/prune_channels.v1", (built, split), 200_000)
    smaller = story.model("pass/quantize.v1", (pruned, split), 62_000)
    found = story.findings(smaller, story.bundles[1], 0.968, 62_000, 1.1)
    story.bundle(2, smaller, story.bundles[1], found, {"clean": (0.0, 0.021)})
    field_rows = story.snapshot("source/field.v1", 300)
    merged = story.snapshot("data/merge.v1", 5300, (split, field_rows))
    notes = {"curves": story.curves(6, 0.979), "fine_tuned": True}
    tuned = story.model("recipe/image_classifier.v1", (merged, built), 400_000, notes)
    exported = story.model("pass/export_onnx.v1", (tuned,), 410_000)
    int8 = story.model("pass/quantize.v1", (exported, merged), 141_000)
    found = story.findings(int8, story.bundles[1], 0.973, 141_000, 1.9)
    profiles = {"clean": (0.0, 0.018), "field:south": (1.0, 0.31)}
    story.bundle(3, int8, story.bundles[1], found, profiles)


def _first_release(story):
    counts = {JobState.SUCCEEDED: 8}
    story.rollout(1, 1, 2, 66, RolloutState.FINISHED, counts)
    stages = {"cam-1": 2, "cam-5": 2, "cam-2": 24, "cam-6": 24}
    for device in DEVICES:
        story.update(stages.get(device, 46), device, 1, 1, None)


def _bad_release(story):
    reason = "FAILED 100 % of 1 executed, over 5 %"
    counts = {JobState.FAILED: 1, JobState.REMOVED: 7}
    story.rollout(2, 2, 118, 129, RolloutState.STOPPED, counts, reason)
    story.update(118, "cam-5", 2, 2, 1, good=False)


def _turn(story):
    bundle = story.bundles[1].digest
    why = "inputs of south moved from profile 'clean': psi of input.image.bright 0.95"
    told = {"bundle": bundle, "reason": why}
    story.line(112, "trigger.alarm", "south", **told)
    story.line(119, "trigger.waiting", "south", bundle=bundle, reason="a rollout is running")
    story.line(131, "trigger.fired", "south", **told)
    story.line(132, "trigger.samples_requested", "south", bundle=bundle, request=1, count=300)
    learned = {"bundle": bundle, "version": 3, "digest": story.bundles[3].digest}
    story.line(178, "trigger.learned", "south", **learned)
    story.line(178, "trigger.rollout", "south", rollout=3, **learned)
    story.rollout(3, 3, 179, 243, RolloutState.FINISHED, {JobState.SUCCEEDED: 8})
    stages = {"cam-1": 179, "cam-5": 179, "cam-2": 201, "cam-6": 201}
    for device in DEVICES:
        story.update(stages.get(device, 222), device, 3, 3, 1)


def _work(story):
    for number, (device, site) in enumerate(DEVICES.items()):
        shift = (lambda at: 1.0 if at > 88 else 0.0) if site == "south" else (lambda _: 0.0)
        first, second = (14, 190) if device in {"cam-1", "cam-5"} else (60, 236)
        bad = 0.79 if site == "south" else 0.975
        calm = [at + number * 0.9 for at in range(first + 8, 88, 9)]
        story.answers(device, 1, calm, shift, 0.977)
        story.answers(device, 1, [at + number * 0.9 for at in range(92, second, 9)], shift, bad)
        story.answers(
            device, 3, [at + number * 0.9 for at in range(second + 9, 292, 9)], shift, 0.962
        )
