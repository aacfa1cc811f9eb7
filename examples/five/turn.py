"""One turn of an example's loop with a real fleet: out, a bad release back, drift, a better out.

``python examples/five/turn.py income`` takes ``examples/income``: its loop file, a worse variant of
it (``bad.yaml``) that passes every gate, and its world (``world.py``), which changes in the south.
It works in ``turn-<name>``; killed and run again, it carries on. It ends with what happened,
checked against the audit log, and with exit status 0 only when all of it did.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from types import ModuleType

import numpy as np
from device import CHANGED
from rich.console import Console
from rich.table import Table

from edgeloop import arrayfiles
from edgeloop.cli.loop import tracker_of
from edgeloop.errors import EdgeloopError
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.views import AuditLine, RolloutView
from edgeloop.loop.file import load_loop
from edgeloop.loop.runner import RunResult, channel_list, run_loop
from edgeloop.protocol.messages import ReleaseRef, RolloutState
from edgeloop.release.repository import Repository
from edgeloop.store.artifacts import Store
from edgeloop.testing.processes import control_plane, devices, enrolled, watcher

HERE = Path(__file__).parent
EXAMPLES = HERE.parent
SITES = ("north", "south")
EACH_SITE = 2  # devices
WINDOW_SECONDS = 5.0


class TurnError(Exception):
    """Something that had to happen did not, in time."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One thing that had to happen, and what was recorded of it."""

    title: str
    happened: bool
    told: str


@dataclass(kw_only=True)
class Turn:
    """One example's loop on this machine."""

    example: Path
    work: Path
    patience: float  # seconds that one part may take
    console: Console = field(default_factory=Console)
    began: float = field(default_factory=time.monotonic)
    processes: dict[str, Popen[bytes]] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """A line with the time since the start."""
        passed = time.monotonic() - self.began
        self.console.print(f"{passed:6.1f}  {text}", highlight=False, markup=False)

    def make(self, file: str) -> RunResult:
        """Data, recipe, passes, checks, release."""
        self.say(f"edgeloop run {file}")
        loop = load_loop(self.work / file)
        result = run_loop(loop, Store(self.work / ".edgeloop"), tracker=tracker_of(loop))
        for finding in result.findings:
            value = "" if finding.value is None else f"{finding.value:.4g} {finding.unit}"
            self.say(f"   {finding.check:20} {finding.verdict} {value} {finding.limit}")
        return result

    def release(self, version: int, file: str) -> ReleaseRef:
        """The release of a loop file; one that is listed, or was, is not made again."""
        loop = load_loop(self.work / file)
        listing = channel_list(loop)
        every = (*listing.releases, *listing.delisted) if listing else ()
        known = [line for line in every if line.version == version]
        if not known:
            return self.make(file).release
        channel = loop.settings.release.channel
        return ReleaseRef(name=loop.name, channel=channel, version=version, digest=known[0].digest)

    def prepare(self) -> ModuleType:
        """The folder of this turn, with the world's rows as the devices read them."""
        self.work.mkdir(parents=True, exist_ok=True)
        for file in ("loop.yaml", "bad.yaml"):
            shutil.copy(self.example / file, self.work / file)
        world = _module(self.example / "world.py")
        for name, changed in (("steady", False), ("changed", True)):
            if not (self.work / f"{name}.zip").exists():
                inputs, truth = world.rows(changed=changed)
                columns = {f"in.{key}": values for key, values in inputs.items()}
                columns["truth"] = np.asarray(truth)
                arrayfiles.pack(columns, self.work / f"{name}.new").replace(
                    self.work / f"{name}.zip"
                )
        return world

    @contextmanager
    def fleet(self, world: ModuleType) -> Iterator[FleetClient]:
        """A control plane and devices that work, at two sites."""
        every = getattr(world, "ANSWER_SECONDS", 0.05)  # between two answers of a device
        late = getattr(world, "TRUTH_AFTER", 0)  # answers until a truth is known
        loop = load_loop(self.work / "loop.yaml")
        with control_plane(self.work) as fleet:
            each = getattr(world, "EACH_SITE", EACH_SITE)
            places = [(site, number + 1) for site in SITES for number in range(each)]
            lines = {}
            for place, (site, number) in enumerate(places):
                name = f"{site}-{number}"
                enrolled(
                    self.work, fleet, name, site=site, model=loop.name, opt_in=site == "south",
                    window_seconds=WINDOW_SECONDS, report_seconds=2.0,
                )  # fmt: skip
                pace = ["--start", place / len(places), "--every", every, "--late", late]
                lines[name] = [HERE / "device.py", *pace]
            with devices(self.work, lines) as self.processes:
                yield fleet

    def roll_out(self, fleet: FleetClient, release: ReleaseRef) -> RolloutView:
        """Start a rollout where there was none, and wait until it is over."""
        known = [r for r in fleet.rollouts() if r.version == release.version]
        made = known or [fleet.create_rollout(release.name, release.channel, release.version)]
        return self.over(fleet, made[0].id)

    def over(self, fleet: FleetClient, number: int) -> RolloutView:
        """Wait until a rollout is over."""
        self.until(lambda: fleet.rollout(number).state.over, f"rollout {number} must be over")
        found = fleet.rollout(number)
        self.say(f"   release {found.version}: {found.state}")
        return found

    def until(self, happened: Callable[[], bool], rule: str) -> None:
        """Wait."""
        deadline = time.monotonic() + self.patience
        while not happened():
            dead = [name for name, one in self.processes.items() if one.poll() is not None]
            if dead:
                raise TurnError(f"device {dead[0]} must go on. See {self.work / dead[0]}.log")
            if time.monotonic() > deadline:
                raise TurnError(f"{rule}, and was not in {self.patience:.0f} s. See {self.work}")
            time.sleep(0.5)


def play(turn: Turn) -> list[Point]:
    """The whole turn; what has happened before is only looked at."""
    world = turn.prepare()
    first, second = turn.release(1, "loop.yaml"), turn.release(2, "bad.yaml")
    with turn.fleet(world) as fleet:
        turn.say("release 1 goes out")
        out = turn.roll_out(fleet, first)
        if out.state is not RolloutState.FINISHED:
            raise TurnError(f"release 1 must reach every device, and its rollout is {out.state}")
        turn.say("the world of the south changes")
        (turn.work / CHANGED).touch()
        with watcher(turn.work):
            turn.say("release 2 goes out, to canaries first")
            back = turn.roll_out(fleet, second)
            _delist(turn, second.version)
            turn.say("drift starts the loop again")
            turn.until(lambda: bool(_ended(fleet)), "the trigger must start a rollout")
            third = _third(turn, fleet)
        return examine(fleet, out, back, third)


def _ended(fleet: FleetClient) -> list[AuditLine]:
    """How the trigger's turn ended: with a rollout, or not."""
    return [a for a in fleet.audit() if a.action in {"trigger.rollout", "trigger.gave_up"}]


def _third(turn: Turn, fleet: FleetClient) -> RolloutView | None:
    ended = _ended(fleet)[-1]
    if ended.action == "trigger.gave_up":
        turn.say(f"   the loop gave up: {ended.detail['reason']}")
        return None
    return turn.over(fleet, ended.detail["rollout"])


def examine(
    fleet: FleetClient, out: RolloutView, back: RolloutView, third: RolloutView | None
) -> list[Point]:
    """What had to happen, by the control plane's own records."""
    audit = list(fleet.audit())
    failed = [job for job in back.jobs if job.state == "FAILED"]
    fired = [line for line in audit if line.action == "trigger.fired"]
    reasons = "; ".join(job.reason for job in failed)
    behind = [line for line in audit if line.action == "job.succeeded" and third]
    return [
        Point(
            title="release 1 runs on every device",
            happened=out.state is RolloutState.FINISHED,
            told=f"rollout {out.state}",
        ),
        Point(
            title="the canary of the south sent release 2 back by itself",
            happened=back.state is RolloutState.STOPPED and bool(failed),
            told=f"rollout {back.state}: {reasons}",
        ),
        Point(
            title="drift, and nothing else, started the loop again",
            happened=len(fired) == 1,
            told=fired[0].detail["reason"] if fired else "nothing fired",
        ),
        Point(
            title="release 3 answers differently, and runs on every device",
            happened=third is not None and third.state is RolloutState.FINISHED and bool(behind),
            told=f"rollout {third.state}" if third else "there is none",
        ),
    ]


def _delist(turn: Turn, version: int) -> None:
    """What an operator does with a bad release; a device may not install it any more."""
    loop = load_loop(turn.work / "loop.yaml")
    release = loop.settings.release
    repository = Repository(loop.path(release.repository), loop.path(release.keys))
    gone = [line.version for line in repository.listing(loop.name, release.channel).delisted]
    if version not in gone:
        repository.delist(loop.name, release.channel, version)


def _module(path: Path) -> ModuleType:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TurnError(f"{path} must be a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def print_table(turn: Turn, points: list[Point]) -> None:
    """What happened."""
    table = Table(title=f"{turn.example.name}: one turn of the loop", title_justify="left")
    for column in ("point", "happened", "what was recorded"):
        table.add_column(column)
    for point in points:
        happened = "[green]yes[/green]" if point.happened else "[red]NO[/red]"
        table.add_row(point.title, happened, point.told)
    turn.console.print(table)


def main() -> int:
    """Play the turn and judge it."""
    known = sorted(path.parent.name for path in EXAMPLES.glob("*/bad.yaml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("example", choices=known)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--patience", type=float, default=240.0, help="seconds for one part")
    told = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    work = told.work or Path(f"turn-{told.example}")
    turn = Turn(example=EXAMPLES / told.example, work=work, patience=told.patience)
    try:
        points = play(turn)
    except (EdgeloopError, TurnError) as fault:
        turn.console.print(str(fault), style="red", highlight=False, markup=False)
        return getattr(fault, "exit_code", 1)
    print_table(turn, points)
    turn.say("done")
    return 0 if all(point.happened for point in points) else 1


if __name__ == "__main__":
    sys.exit(main())
