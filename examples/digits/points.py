"""The ten points of the story, each judged by what store, audit, blob log and devices recorded."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from multiplications import multiplications

from edgeloop.fleet.views import AuditLine, DeviceView, RolloutView, WindowView
from edgeloop.loop.lineage import trace
from edgeloop.loop.report.facts import Turn
from edgeloop.loop.report.story import turn
from edgeloop.loop.report.words import listed, size
from edgeloop.protocol.messages import ChannelList, JobState, RolloutState, Window
from edgeloop.release import deltas
from edgeloop.release.bundle import BundleInfo
from edgeloop.release.repository import read_list
from edgeloop.store.artifacts import Store
from edgeloop.store.manifest import layers_of
from edgeloop.types import Artifact
from fleet import DEVICES, WINDOW

BETTER = 0.05  # how much more of the south's answers must be right behind release 3


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point: did it happen, and what was recorded."""

    number: int
    title: str
    happened: bool
    told: str


@dataclass(kw_only=True)
class Evidence:
    """What was recorded."""

    work: Path
    store: Store
    repository: Path
    devices: list[DeviceView]
    rollouts: list[RolloutView]
    audit: list[AuditLine]
    windows: list[WindowView]
    turns: tuple[Turn, ...]  # as the report tells them
    measure: str  # what the report calls quality

    @cached_property
    def listing(self) -> ChannelList:
        """The signed list."""
        return read_list(self.repository, "sorter", "stable")

    def rollout(self, version: int) -> RolloutView:
        """The rollout of a release."""
        return next(r for r in self.rollouts if r.version == version)

    def bundle(self, version: int) -> Artifact:
        """The bundle of a release, delisted or not."""
        return self.store.open(self.rollout(version).digest)

    def blobs(self, version: int) -> set[str]:
        """Every blob of a release's bundle, but for its manifest, and the deltas to it."""
        digest = self.rollout(version).digest
        layers, description = layers_of(self.store.layout.read(digest), digest)
        return {layer.digest for layer in (*layers, description)} | set(self.deltas(version))

    def deltas(self, version: int) -> dict[str, deltas.Kept]:
        """The deltas that lead to a release, by digest."""
        return deltas.kept(self.store, self.rollout(version).digest)

    def fetched(self) -> list[dict]:
        """The blob server's log."""
        return [json.loads(line) for line in (self.work / "fleet" / "blobs.jsonl").open()]

    def graph(self, version: int) -> Path:
        """The ONNX file of a release."""
        return self.bundle(version).files["model.onnx"]


def examine(evidence: Evidence) -> list[Point]:
    """Judge every point; one whose evidence is missing did not happen."""
    return [_judge(number, title, rule, evidence) for number, (title, rule) in RULES.items()]


def _judge(
    number: int, title: str, rule: Callable[[Evidence], tuple[bool, str]], evidence: Evidence
) -> Point:
    try:
        happened, told = rule(evidence)
    except (StopIteration, LookupError, FileNotFoundError, ValueError) as fault:
        happened, told = False, f"no record of it ({type(fault).__name__})"
    return Point(number=number, title=title, happened=happened, told=told)


def data(evidence: Evidence) -> tuple[bool, str]:
    """A snapshot with schema, statistics and a stratified split."""
    rows = next(
        a for a in evidence.store.lineage(evidence.rollout(1).digest) if a.kind == "snapshot"
    )
    split = next(a for a in evidence.store.artifacts("snapshot") if rows.digest in a.parents)
    parts = split.meta["statistics"]["split"]["rows"]
    good = sum(parts.values()) == rows.meta["rows"] == 4000 and min(parts.values()) > 0
    told = ", ".join(f"{many} {part}" for part, many in parts.items())
    return good, f"{rows.meta['rows']} images ({told}), {rows.digest[7:19]}"


def recipe(evidence: Evidence) -> tuple[bool, str]:
    """A trained model whose curves went to MLflow."""
    model = _made_by(evidence, 1, "recipe/")
    epochs = len(model.meta["notes"]["curves"]["train_loss"])
    database = sqlite3.connect(evidence.work / ".edgeloop" / "mlflow.sqlite")
    logged = database.execute("select count(*) from metrics where key = 'train_loss'").fetchone()[0]
    database.close()
    return (
        epochs > 1 and logged >= epochs,
        f"{epochs} epochs, {logged} points of the curve in MLflow",
    )


def passes(evidence: Evidence) -> tuple[bool, str]:
    """The graph takes raw pixels, and its weights are int8."""
    made = [a.made_by.plugin for a in evidence.store.lineage(evidence.rollout(1).digest)]
    taken = BundleInfo.model_validate(evidence.bundle(1).meta).model["inputs"][0]
    good = {"pass/export_onnx.v1", "pass/quantize.v1"} <= set(made) and taken["dtype"] == "uint8"
    shape = " x ".join(str(axis) for axis in taken["shape"])
    return good, f"{shape} {taken['dtype']} in, {size(evidence.graph(1).stat().st_size)} of graph"


def checks(evidence: Evidence) -> tuple[bool, str]:
    """Every gate of every release passed, the bad one's too."""
    verdicts = Counter(
        finding.meta["verdict"]
        for version in (1, 2, 3)
        for finding in evidence.store.lineage(evidence.rollout(version).digest)
        if finding.kind == "finding" and finding.digest in evidence.bundle(version).parents
    )
    told = ", ".join(f"{many} {verdict}" for verdict, many in sorted(verdicts.items()))
    good = set(verdicts) == {"pass"} and verdicts["pass"] >= 21
    return good, f"{told}, in three releases"


def release(evidence: Evidence) -> tuple[bool, str]:
    """Signed bundles in an OCI layout that is whole."""
    versions = [str(line.version) for line in evidence.listing.releases]
    faults = evidence.store.verify()
    delisted = [str(line.version) for line in evidence.listing.delisted]
    good = versions == ["1", "3"] and delisted == ["2"] and not faults
    whole = f"store has {len(faults)} faults" if faults else "store whole"
    return good, f"listed {listed(versions)}; delisted {listed(delisted)}; {whole}"


def fleet(evidence: Evidence) -> tuple[bool, str]:
    """Eight devices; release 1 in stages of one, half and all of each group."""
    names = {device.name: device.id for device in evidence.devices}
    jobs = evidence.rollout(1).jobs
    stages = [sum(job.stage == stage for job in jobs) for stage in (0, 1, 2)]
    good = set(names) == set(DEVICES) and stages == [2, 2, 4]
    good = good and all(job.state is JobState.SUCCEEDED for job in jobs)
    in_order = all(
        max(j.ended or 0 for j in jobs if (j.group, j.stage) == (group, stage))
        <= min(j.offered or 0 for j in jobs if (j.group, j.stage) == (group, stage + 1))
        for group in (0, 1)
        for stage in (0, 1)
    )
    succeeded = sum(job.state is JobState.SUCCEEDED for job in jobs)
    by_stage = listed([str(many) for many in stages])
    return good and in_order, f"{len(names)} devices, {by_stage} by stage, {succeeded} succeeded"


def work(evidence: Evidence) -> tuple[bool, str]:
    """Every answer in a device's log is counted once by the control plane."""
    answered = counted = unlogged = lost = 0
    for name in DEVICES:
        folder = evidence.work / "devices" / name
        answered += _count(folder / "journal.sqlite", "select count(*) from answers")
        home = [view.window for view in evidence.windows if view.name == name]
        waiting = _rows(folder / "signals.sqlite", "select payload from windows")
        told = [*home, *(Window.model_validate_json(payload) for (payload,) in waiting)]
        counted += sum(window.answers for window in told)
        unlogged += sum(window.unlogged for window in told)
        lost += WINDOW * ((folder / "starts").read_text().count("start") - 1)
    good = 0 <= answered + unlogged - counted <= lost and answered > 1000
    return good, f"{answered} answers in the devices' logs, {unlogged} in none, {counted} counted"


def bad_release(evidence: Evidence) -> tuple[bool, str]:
    """Release 2 is less work; its canary went back by itself, and the others never fetched it."""
    rollout = evidence.rollout(2)
    south = [job for job in rollout.jobs if job.group == 1 and job.state is JobState.FAILED]
    back = [
        line
        for line in evidence.audit
        if line.action == "job.failed" and "FAILED_ROLLBACK_COMPLETE" in json.dumps(line.detail)
    ]
    offered = {job.device for job in rollout.jobs if job.offered is not None}
    only = evidence.blobs(2) - evidence.blobs(1) - evidence.blobs(3)
    fetchers = {
        line["device"] for line in evidence.fetched() if line["digest"] in only and line["bytes"]
    }
    good = bool(south and back and only) and rollout.state is RolloutState.STOPPED
    good = good and fetchers <= offered and len(offered) <= 2 and None not in fetchers
    before, after = (multiplications(evidence.graph(version)) for version in (1, 2))
    fewer = f"{1 - after / before:.0%} fewer multiplications than release 1"
    told = f"{fewer}; {south[0].device_name}: {south[0].reason}"
    return good and after < before, f"{told}; fetched by {len(fetchers)} of 8 devices"


def closing(evidence: Evidence) -> tuple[bool, str]:
    """Drift started the loop behind the stopped rollout, and the south got better."""
    fired = next(line for line in evidence.audit if line.action == "trigger.fired")
    stopped = next(
        line for line in evidence.audit
        if line.action == "rollout.stopped" and line.subject == f"rollout:{evidence.rollout(2).id}"
    )  # fmt: skip
    third = evidence.rollout(3)
    ran = [d.report.running.version for d in evidence.devices if d.report and d.report.running]
    (south,) = evidence.turns
    before, after = south.quality
    declared = BundleInfo.model_validate(evidence.bundle(3).meta).declared
    differs = {one.profile: one.disagreement for one in declared}
    good = fired.id > stopped.id and third.state is RolloutState.FINISHED and ran == [3] * 8
    good = good and differs["field:south"] > 2 * differs["clean"] and after >= before + BETTER
    told = ", ".join(f"{share:.1%} on inputs like {name}" for name, share in differs.items())
    good = good and south.fresh and (south.group, south.before, south.after) == ("south", 1, 3)
    won = turn(south, evidence.measure)
    ways = evidence.deltas(3)
    took = {line["device"] for line in evidence.fetched() if line["digest"] in ways}
    good = good and len(took - {None}) == 8
    short = ", ".join(f"{size(one.size)} instead of {size(one.makes)}" for one in ways.values())
    told = f"{won} It declared to differ {told}; it went to {len(took)} devices as {short}"
    return good and min(south.confirmed) >= 100, told


def told(evidence: Evidence) -> tuple[bool, str]:
    """An answer of a device's log leads back to data, steps, checks and signer."""
    folder = evidence.work / "devices" / "south-1"
    (answer,) = _rows(folder / "journal.sqlite", "select id from answers order by seq desc limit 1")
    story = trace(evidence.store, answer[0], device=folder, repository=evidence.repository)
    good = story["artifact"] == evidence.rollout(3).digest and bool(story["signers"])
    good = (
        good
        and len(story["checks"]) >= 7
        and any(d["provenance"].get("request") for d in story["data"])
    )
    return good, (
        f"answer {answer[0][:8]}: {len(story['steps'])} steps, {len(story['checks'])} checks,"
        f" signed by {story['signers'][-1]['keys'][0][:8]}"
    )


def _made_by(evidence: Evidence, version: int, plugin: str) -> Artifact:
    lineage = evidence.store.lineage(evidence.rollout(version).digest)
    return next(a for a in lineage if a.made_by.plugin.startswith(plugin))


def _rows(path: Path, query: str) -> list[tuple]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def _count(path: Path, query: str) -> int:
    return int(_rows(path, query)[0][0])


RULES: dict[int, tuple[str, Callable[[Evidence], tuple[bool, str]]]] = {
    1: ("real data became a snapshot", data),
    2: ("a recipe trained a model", recipe),
    3: ("passes made it int8, pixels in", passes),
    4: ("checks let three releases out", checks),
    5: ("bundles are signed on a channel", release),
    6: ("release 1 went out in stages", fleet),
    7: ("devices worked, and counts add up", work),
    8: ("the bad release went back", bad_release),
    9: ("drift closed the loop", closing),
    10: ("an answer tells where it came from", told),
}
