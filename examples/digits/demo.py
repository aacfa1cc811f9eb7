"""The loop turns once: from real data to a fleet that updates itself and takes a bad release back.

Run by ``make demo``. All that it makes lies in ``demo-work``; killed and run again, it carries on.
It ends with a table of the ten points of the story, each checked against what was recorded, with
``demo-work/report.html``, and with exit status 0 only when all ten happened.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from points import Evidence, Point, examine
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from world import BRIGHTER, SECOND_DAY, write_world

from edgeloop.cli.loop import tracker_of
from edgeloop.errors import EdgeloopError
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.views import AuditLine, RolloutView
from edgeloop.loop.file import LoopFile, load_loop
from edgeloop.loop.report import collect, render, windows_of
from edgeloop.loop.runner import RunResult, StepResult, run_loop
from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release.repository import Repository
from edgeloop.store.artifacts import Store
from edgeloop.testing.processes import control_plane, watcher
from fleet import devices

HERE = Path(__file__).parent
SCENES = 7
SEEN_AFTER = 400  # confirmed answers of release 3 in the south before its accuracy is told
TOLD = {  # audit actions that are worth a line on the terminal
    "rollout.stage", "rollout.started", "rollout.stopped", "rollout.finished", "job.failed",
    "trigger.alarm", "trigger.waiting", "trigger.fired", "trigger.samples_requested",
    "trigger.learned", "trigger.gave_up", "samples.closed",
}  # fmt: skip


class SceneError(Exception):
    """A scene of the story did not happen in time."""


@dataclass(kw_only=True)
class Stage:
    """The terminal: what is happening, and how long it has been happening."""

    console: Console = field(default_factory=Console)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        )  # fmt: skip

    @contextmanager
    def scene(self, number: int, title: str) -> Iterator[None]:
        """One part of the story."""
        self.say(f"[bold]scene {number} of {SCENES}[/bold]  {title}")
        with self._bars:
            task = self._bars.add_task(title)
            yield
            self._bars.remove_task(task)

    def say(self, text: str) -> None:
        """A line with the time since the start."""
        self.console.print(
            f"[dim]{time.monotonic() - self.began:6.1f}[/dim]  {text}", highlight=False
        )

    def step(self, step: StepResult) -> None:
        """A step of a run."""
        how = f"{step.seconds:.1f} s" if step.executed else "in store"
        self.say(f"   {step.name:16} {step.artifact.digest[7:19]}  {how}")


@dataclass(kw_only=True)
class Story:
    """Ten points, in order. Each scene looks first whether it has happened already."""

    work: Path
    stage: Stage
    trigger: bool
    patience: float  # seconds that one scene may take
    fleet: FleetClient | None = None
    _read: int = 0

    def run_offline(self, file: str) -> RunResult:
        """Data, recipe, passes, checks, release."""
        loop, store = self.loop(file), self.store()
        result = run_loop(loop, store, tracker=tracker_of(loop), on_step=self.stage.step)
        for finding in result.findings:
            value = "" if finding.value is None else f"{finding.value:.4g} {finding.unit}"
            self.stage.say(f"   {finding.check:16} {finding.verdict} {value} {finding.limit}")
        return result

    def smaller(self) -> ReleaseRef:
        """Release 2; where it was delisted already, it is not made again, since it is refused."""
        known = [r for r in self.plane().rollouts() if r.version == 2]
        if known:
            one = known[0]
            return ReleaseRef(
                name=one.name, channel=one.channel, version=one.version, digest=one.digest
            )
        return self.run_offline("smaller.yaml").release

    def roll_out(self, release: ReleaseRef) -> RolloutView:
        """Start a release's rollout where it was not, and wait until it is over."""
        fleet = self.plane()
        known = [r for r in fleet.rollouts() if r.version == release.version]
        rollout = (
            known[0]
            if known
            else fleet.create_rollout(release.name, release.channel, release.version)
        )
        return self.wait_for(rollout.id)

    def wait_for(self, number: int) -> RolloutView:
        """Wait until a rollout is over."""
        self.until(
            lambda: self.plane().rollout(number).state.over, f"rollout {number} must be over"
        )
        return self.plane().rollout(number)

    def until(self, happened: Callable[[], bool], rule: str) -> None:
        """Wait, telling what the audit log says meanwhile."""
        deadline = time.monotonic() + self.patience
        while not happened():
            self.tell_audit()
            if time.monotonic() > deadline:
                told = f"{rule}, and did not in {self.patience:.0f} s"
                raise SceneError(f"{told}. See the logs in {self.work}")
            time.sleep(0.5)
        self.tell_audit()

    def tell_audit(self) -> None:
        """Print what is new in the audit log."""
        for line in self.plane().audit(self._read):
            self._read = line.id
            if line.action in TOLD:
                self.stage.say(f"   {_words(line)}")

    def confirmed(self, version: int, site: str, mark: str) -> int:
        """Confirmed answers of a release by a site's devices, in windows begun since ``mark``."""
        since = (self.work / mark).stat().st_mtime
        return sum(
            view.window.confirmed
            for view in windows_of(self.plane())
            if view.window.version == version
            and view.labels.get("site") == site
            and view.window.began >= since
        )

    def loop(self, file: str = "loop.yaml") -> LoopFile:
        """A loop file of the demo's folder."""
        return load_loop(self.work / file)

    def store(self) -> Store:
        """The store that all loop files of the demo share."""
        return Store(self.work / ".edgeloop")

    def plane(self) -> FleetClient:
        """The control plane, which is up in every scene that asks for it."""
        if self.fleet is None:
            raise SceneError("the control plane must be up in this scene")
        return self.fleet


def play(story: Story) -> list[Point]:
    """The whole story; what has happened before is only looked at."""
    stage, work = story.stage, story.work
    with stage.scene(1, "data, recipe, passes, checks, release 1"):
        first = story.run_offline("loop.yaml")
        _keep_world(work)
    with control_plane(work) as story.fleet, devices(work, story.fleet):
        stage.say(f"   control plane at {story.fleet.url}, 8 devices in two groups")
        with stage.scene(2, "release 1 goes out in stages"):
            story.roll_out(first.release)
        with stage.scene(3, "release 2 is smaller, with less to compute, and passes every gate"):
            second = story.smaller()
        with stage.scene(4, "the cameras of the south become brighter and slightly turned"):
            _touch(work / BRIGHTER)
        with watcher(work) if story.trigger else _nothing():
            with stage.scene(5, "release 2 goes to its canaries"):
                story.roll_out(second)
            _delist(story.loop(), second.version)
            with stage.scene(6, "drift starts the loop again"):
                third = _third(story)
                story.wait_for(third.id)
        _touch(work / SECOND_DAY)
        with stage.scene(7, "the south answers with release 3, on images that it never sent"):
            story.until(
                lambda: story.confirmed(third.version, "south", SECOND_DAY) >= SEEN_AFTER,
                f"{SEEN_AFTER} confirmed answers must come from the south",
            )
    with control_plane(work) as story.fleet:  # without devices: everything has been counted
        return _close(story)


def _third(story: Story) -> RolloutView:
    """The rollout that the trigger started."""

    def started() -> list[AuditLine]:
        return [line for line in story.plane().audit() if line.action == "trigger.rollout"]

    story.until(lambda: bool(started()), "the trigger must start a rollout")
    return story.plane().rollout(started()[0].detail["rollout"])


def _close(story: Story) -> list[Point]:
    """Check the ten points, write the report, print the table."""
    fleet, work = story.plane(), story.work
    said = {
        "devices": fleet.devices(),
        "rollouts": [fleet.rollout(r.id) for r in fleet.rollouts()],
        "audit": list(fleet.audit()),
        "windows": windows_of(fleet),
    }
    facts = collect(
        story.loop(), story.store(), **said, blob_log=work / "fleet" / "blobs.jsonl",
        fresh_since=(work / SECOND_DAY).stat().st_mtime,
    )  # fmt: skip
    repository = work / "repository"
    points = examine(
        Evidence(
            work=work,
            store=story.store(),
            repository=repository,
            turns=facts.turns,
            measure=facts.measure,
            **said,
        )
    )
    (work / "points.json").write_text(json.dumps([asdict(point) for point in points], indent=1))
    extra = {f"{p.number} {p.title}": f"{'yes' if p.happened else 'no'}: {p.told}" for p in points}
    (work / "report.html").write_text(render(facts, extra=extra))
    return points


def print_table(stage: Stage, points: list[Point]) -> None:
    """The closing table."""
    table = Table(title="The loop turned once", title_justify="left")
    for column in ("", "point", "happened", "what was recorded"):
        table.add_column(column)
    for point in points:
        happened = "[green]yes[/green]" if point.happened else "[red]NO[/red]"
        table.add_row(str(point.number), point.title, happened, point.told)
    stage.console.print(table)


def _words(line: AuditLine) -> str:
    """One audit line for a person."""
    told = line.detail.get("reason") or ""
    if line.action == "rollout.stage":
        told = f"group {line.detail.get('group')} opens stage {line.detail.get('stage')}"
    return f"[dim]{line.action}[/dim] {line.subject} {told}".rstrip()


def _keep_world(work: Path) -> None:
    """The rows of the data set that the loop does not learn from: what cameras will see."""
    from tempfile import TemporaryDirectory

    from edgeloop.data.builtin import Builtin
    from edgeloop.plugins import Context

    if (work / "world.npz").exists():
        return
    with TemporaryDirectory() as scratch:
        rest = Builtin(dataset="mnist-5k", share=0.8, rest=True)
        rows = rest.load(Context(scratch=Path(scratch)))
        write_world(work / "world.npz", rows.column("image"), rows.column("label"))


def _delist(loop: LoopFile, version: int) -> None:
    """What an operator does with a bad release; a device may not install it any more."""
    release = loop.settings.release
    repository = Repository(loop.path(release.repository), loop.path(release.keys))
    gone = [line.version for line in repository.listing(loop.name, release.channel).delisted]
    if version not in gone:
        repository.delist(loop.name, release.channel, version)


def _touch(path: Path) -> None:
    """Say that something has happened, once: the time of the first counts."""
    if not path.exists():
        path.touch()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def main() -> int:
    """Play the story and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("demo-work"))
    parser.add_argument("--no-trigger", action="store_true", help="the story then must fail")
    parser.add_argument("--patience", type=float, default=240.0, help="seconds for one scene")
    told = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    told.work.mkdir(parents=True, exist_ok=True)
    for file in ("loop.yaml", "smaller.yaml"):
        shutil.copy(HERE / file, told.work / file)
    stage = Stage()
    try:
        story = Story(
            work=told.work, stage=stage, trigger=not told.no_trigger, patience=told.patience
        )
        points = play(story)
    except (EdgeloopError, SceneError) as fault:
        stage.console.print(str(fault), style="red", highlight=False, markup=False)
        return getattr(fault, "exit_code", 1)
    print_table(stage, points)
    stage.say(f"report: {told.work / 'report.html'}")
    return 0 if all(point.happened for point in points) else 1


if __name__ == "__main__":
    sys.exit(main())
