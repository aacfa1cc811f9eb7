"""The demo's processes: a control plane, eight devices and a watcher, none of which outlives it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgeloop.agent.enrolment import enrol
from edgeloop.clock import SystemClock
from edgeloop.errors import UnreachableError
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.process import command
from edgeloop.fleet.settings import Settings

HERE = Path(__file__).parent
SITES = ("north", "south")
DEVICES = tuple(f"{site}-{number}" for site in SITES for number in (1, 2, 3, 4))
WINDOW = 60  # answers in a window of signals: three seconds of a camera
START_SECONDS = 60.0


@contextmanager
def child(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this block, or with this process, whatever ends that."""
    with (
        log.open("ab") as stream,
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=stream, stderr=stream) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def control_plane(work: Path) -> Iterator[FleetClient]:
    """The control plane of ``work``, on the same port as before."""
    settings = Settings(
        folder=work / "fleet",
        repository=work / "repository",
        layout=work / ".edgeloop",
        port=_port(work / "port"),
        poll_seconds=1.0,
        tick_seconds=0.5,
    )
    settings.folder.mkdir(exist_ok=True)
    with child([*command(settings), "--until-stdin-closes"], settings.folder / "log") as process:
        yield _connected(settings.folder, process)


@contextmanager
def devices(work: Path, fleet: FleetClient) -> Iterator[None]:
    """Enrol the devices that are new, and run all of them."""
    for name in DEVICES:
        if not (work / "devices" / name / "agent.json").exists():
            _enrol(work, fleet, name)
    with ExitStack() as running:
        for seed, name in enumerate(DEVICES):
            folder = work / "devices" / name
            arguments = ["--folder", folder, "--world", work / "world.npz", "--seed", seed]
            line = [sys.executable, HERE / "device.py", *arguments]
            running.enter_context(child([str(part) for part in line], work / f"{name}.log"))
        yield


@contextmanager
def watcher(work: Path) -> Iterator[None]:
    """The process that looks for drift and starts the loop again."""
    line = [sys.executable, "-m", "edgeloop.cli.main", "-v", "watch", str(work / "loop.yaml")]
    options = ["--fleet", str(work / "fleet"), "--every", "1", "--turns", "1"]
    with child([*line, *options, "--until-stdin-closes"], work / "watch.log"):
        yield


def _enrol(work: Path, fleet: FleetClient, name: str) -> None:
    site = name.partition("-")[0]
    enrol(
        work / "devices" / name,
        server=fleet.url,
        token=fleet.create_token({"site": site}).token,
        name=name,
        model="sorter",
        root=(work / "repository" / "metadata" / "1.root.json").read_bytes(),
        labels={"site": site},
        opt_in=site == "south",
        window_answers=WINDOW,
        window_seconds=5.0,
        report_seconds=2.0,
    )


def _port(kept: Path) -> int:
    """A free port, the same at every start: devices know the address."""
    if not kept.exists():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            kept.write_text(str(free.getsockname()[1]))
    return int(kept.read_text())


def _connected(folder: Path, process: subprocess.Popen[bytes]) -> FleetClient:
    clock = SystemClock()
    deadline = clock.monotonic() + START_SECONDS
    while process.poll() is None and clock.monotonic() < deadline:
        try:
            client = FleetClient.of_folder(folder)
            client.health()
        except UnreachableError:
            clock.sleep(0.1)
        else:
            return client
    raise UnreachableError(
        "control plane of the demo", "must come up", todo=f"See {folder / 'log'}"
    )
