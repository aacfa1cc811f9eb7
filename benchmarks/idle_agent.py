"""How much memory an idle agent holds: enrolled, polling a real control plane, nothing to do."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.process import command
from edgeloop.fleet.settings import Settings, Tls
from edgeloop.loop.file import LoopFile, load_loop
from environments import environment, template_loop
from figure import Figure, Measured, main
from timing import run

MOST_MB = 48.0
LISTEN = ("--listen", "127.0.0.1:0")
POLL_SECONDS = 0.5
FIELD_SECONDS = 30.0  # between polls, as devices in the field are told
WATCHED_SECONDS = 300.0
MOST_SHARE = 0.2  # percent of one core
POLLS = 30  # signed requests of the device before its memory is read
ANSWERS = 300
PATIENCE = 120.0  # seconds for anything to happen
LIBRARIES = (
    "pydantic", "cryptography.hazmat.primitives.asymmetric.ed25519", "http_message_signatures",
    "urllib3", "sqlite3",
)  # fmt: skip
GROWTH = """
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))
held = resident()
print(f"Python itself {held:.1f}", end="")
for name in NAMES:
    __import__(name)
    print(f", {name} {resident() - held:.1f}", end="")
    held = resident()
"""


def measure(work: Path) -> Measured:
    """Four agents, one after the other, against one control plane; a fifth over TLS."""
    work.mkdir(parents=True, exist_ok=True)
    loop = load_loop(template_loop(work))
    with control_plane(Path(mkdtemp(dir=work, prefix="fleet-")), loop) as plane:
        base, whole = environment(work), environment(work, "device")
        alone, resident = _idle("idle agent, base packages alone, no release", plane, base)
        listening, _ = _idle("the same with its loopback endpoint", plane, base, *LISTEN)
        beside, _ = _idle("the same where extra `device` is installed", plane, whole)
        loaded = tuple(_loaded(plane, whole))
    slow = _slow_polls(Path(mkdtemp(dir=work, prefix="fleet-")), loop, base)
    figures = (_judged(alone, resident, base), listening, beside, *loaded, slow)
    return Measured(figures=figures, samples={"resident MB": [resident]})


class Plane:
    """The control plane of this benchmark."""

    def __init__(self, folder: Path, loop: LoopFile) -> None:
        self.folder, self.loop = folder, loop
        self.client = FleetClient.of_folder(folder)

    def enrol(self, python: Path) -> Path:
        """A new device's folder."""
        folder = Path(mkdtemp(dir=self.folder, prefix="device-"))
        root = self.loop.path(self.loop.settings.release.repository) / "metadata" / "1.root.json"
        token = self.client.create_token({}).token
        names = ["--name", folder.name, "--model", self.loop.name]
        names += ["--ca", str(self.client.ca)] if self.client.ca else []
        where = ["--server", self.client.url, "--folder", folder, "--root", root]
        run([*_isolated(python), "-m", "edgeloop.agent", "enrol", "--token", token, *names, *where])
        return folder

    def requests(self, folder: Path) -> int:
        """How many signed requests of a device were taken."""
        device = json.loads((folder / "agent.json").read_text())["device"]
        path = f"file:{self.folder / 'fleet.db'}?mode=ro"
        with closing(sqlite3.connect(path, uri=True)) as database:
            query = "select count(*) from nonces where key_id = ?"
            return int(database.execute(query, (device,)).fetchone()[0])


@contextmanager
def _child(line: list[object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this block, or with this process."""
    words = [str(word) for word in line]
    with (
        log.open("ab") as stream,
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=stream, stderr=stream) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def control_plane(
    folder: Path, loop: LoopFile, poll_seconds: float = POLL_SECONDS, tls: Tls | None = None
) -> Iterator[Plane]:
    """A control plane of its own process, until the block ends."""
    settings = Settings(
        folder=folder,
        repository=loop.path(loop.settings.release.repository),
        layout=loop.path(loop.settings.store),
        poll_seconds=poll_seconds,
        tls=tls,
    )
    with _child([*command(settings), "--until-stdin-closes"], folder / "log"):
        until((folder / "fleet.json").exists, "the control plane must come up")
        yield Plane(folder, loop)


def _idle(what: str, plane: Plane, python: Path, *options: str) -> tuple[Figure, float]:
    """An agent that has polled for a while."""
    folder = plane.enrol(python)
    with agent(python, folder, *options) as process:
        until(lambda: plane.requests(folder) >= POLLS, f"{POLLS} requests must be made")
        memory = _memory(process.pid)
    plane.client.decommission(folder.name)  # so that no stage of a rollout waits for it
    parts = (f"read after {plane.requests(folder)} requests, one poll per {POLL_SECONDS} s",)
    return Figure(what=what, value=_words(memory), parts=parts), memory["Rss"]


def _slow_polls(folder: Path, loop: LoopFile, python: Path) -> Figure:
    """What an agent costs that polls over TLS as one in the field does."""
    with control_plane(folder, loop, FIELD_SECONDS, Tls()) as plane:
        device = plane.enrol(python)
        with agent(python, device) as process:
            time.sleep(FIELD_SECONDS)  # it has started, and asked once
            before, began = _cpu(process.pid), time.monotonic()
            time.sleep(WATCHED_SECONDS)
            passed = time.monotonic() - began
            share = 100 * (_cpu(process.pid) - before) / passed
            memory = _memory(process.pid)
    return Figure(
        what=f"idle agent over TLS, one poll per {FIELD_SECONDS:.0f} s: share of one core",
        value=f"{share:.2f} %",
        target=f"{MOST_SHARE} % or less",
        met=share <= MOST_SHARE,
        reason="" if share <= MOST_SHARE else "each half second it looks what it has to report",
        parts=(f"over {passed:.0f} s", _words(memory)),
    )


def _cpu(pid: int) -> float:
    """Seconds of a processor that a process has had."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _judged(figure: Figure, resident: float, python: Path) -> Figure:
    """The figure that has a target, with what its imports alone hold."""
    names = (*LIBRARIES, "edgeloop.agent.__main__")
    grown = run([*_isolated(python), "-c", f"NAMES = {names!r}{GROWTH}"])
    met = resident <= MOST_MB
    return replace(
        figure,
        target=f"{MOST_MB:.0f} MB (10^6 bytes) resident or less",
        met=met,
        reason="" if met else "the libraries that verification and signing need hold most of it",
        parts=(*figure.parts, f"resident by imports, in this order, MB: {grown}"),
    )


def _loaded(plane: Plane, python: Path) -> Iterator[Figure]:
    """An agent that runs a release: idle, and after it has worked."""
    folder = plane.enrol(python)
    with agent(python, folder, *LISTEN) as process:
        until((folder / "endpoint.json").exists, "the agent must come up")
        plane.client.create_rollout(plane.loop.name, plane.loop.settings.release.channel, 1)
        until(lambda: _runs(plane, folder.name), "the device must run release 1")
        asked = plane.requests(folder)
        until(lambda: plane.requests(folder) >= asked + POLLS, f"{POLLS} requests must be made")
        parts = (f"{plane.loop.name} release 1, read after {POLLS} more requests",)
        value = _words(_memory(process.pid))
        yield Figure(what="idle agent with runtime and a loaded release", value=value, parts=parts)
        answer(folder, plane.loop.name)
        value = _words(_memory(process.pid))
        yield Figure(what=f"the same after {ANSWERS} answers over HTTP", value=value)


def agent(python: Path, folder: Path, *options: str) -> Any:
    """A running agent of its own process, until the block ends."""
    line = [*_isolated(python), "-m", "edgeloop.agent", "run", "--folder", folder]
    return _child([*line, "--until-stdin-closes", *options], folder / "log")


def _isolated(python: Path) -> list[object]:
    """A Python that has only what its environment has, whatever PYTHONPATH says."""
    return [python, "-I"]


def _runs(plane: Plane, name: str) -> bool:
    report = plane.client.device(name).report
    return report is not None and report.running is not None


def answer(folder: Path, model: str) -> None:
    """Ask for the label of grey images, one after the other."""
    url = json.loads((folder / "endpoint.json").read_text())["url"]
    asked = HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    for number in range(ANSWERS):
        image = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8"}
        body = json.dumps({"inputs": [{**image, "data": [number % 256] * 784}]}).encode()
        headers = {"Content-Type": "application/json"}
        asked.request("POST", f"/v2/models/{model}/infer", body, headers)
        reply = asked.getresponse()
        reply.read()
        if reply.status != 200:
            raise RuntimeError(f"answer {number} came with {reply.status}")
    asked.close()


def _memory(pid: int) -> dict[str, float]:
    """Megabytes (10^6) by the kernel's names: Rss and Pss."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    pairs = (line.split() for line in lines)
    told = {words[0].rstrip(":"): int(words[1]) * 1024 / 1e6 for words in pairs}
    return {name: told[name] for name in ("Rss", "Pss")}


def _words(memory: dict[str, float]) -> str:
    mebi = memory["Rss"] * 1e6 / 2**20
    resident = f"{memory['Rss']:.1f} MB resident (RSS; {mebi:.1f} MiB)"
    return f"{resident}, {memory['Pss']:.1f} MB proportional (PSS)"


def until(happened: Callable[[], bool], rule: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{rule} within {PATIENCE:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
