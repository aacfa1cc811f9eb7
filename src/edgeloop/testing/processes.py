"""A real control plane, real devices and a watcher as processes, none of which outlives its block.

For demonstrations and end-to-end tests of one's own loop: FakeFleet's slow, honest brother.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgeloop.agent.enrolment import enrol
from edgeloop.agent.settings import SETTINGS
from edgeloop.clock import SystemClock
from edgeloop.errors import UnreachableError
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.process import command
from edgeloop.fleet.settings import Settings, Tls

START_SECONDS = 60.0
END_SECONDS = 15.0


@contextmanager
def child(arguments: Sequence[object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this block, or with this process, whatever ends that.

    For the second it must end when its stdin closes, see ``orphans``.
    """
    line = [str(part) for part in arguments]
    with (
        log.open("ab") as stream,
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=stream, stderr=stream) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def control_plane(work: Path) -> Iterator[FleetClient]:
    """The control plane of a loop whose store and repository lie in ``work``, on one port for good.

    Raises:
        UnreachableError: it does not come up; its log is named.
    """
    settings = Settings(
        folder=work / "fleet",
        repository=work / "repository",
        layout=work / ".edgeloop",
        port=_port(work / "port"),
        tls=_tls(work / "fleet"),
        poll_seconds=1.0,
        tick_seconds=0.5,
    )
    settings.folder.mkdir(exist_ok=True)
    with child([*command(settings), "--until-stdin-closes"], settings.folder / "log") as process:
        yield _connected(settings.folder, process)


@contextmanager
def devices(
    work: Path, names: Mapping[str, Sequence[object]]
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run each device of ``names``, a script of Python and its options; gives the processes.

    ``--folder`` and the device's folder, ``work/devices/<name>``, are added to the line. It must
    have been enrolled.
    """
    with ExitStack() as running:
        yield {
            name: running.enter_context(
                child(
                    [sys.executable, *line, "--folder", work / "devices" / name],
                    work / f"{name}.log",
                )
            )
            for name, line in names.items()
        }


@contextmanager
def watcher(work: Path) -> Iterator[None]:
    """The process that looks for drift and starts the loop ``work/loop.yaml`` again, once."""
    line = [sys.executable, "-m", "edgeloop.cli.main", "-v", "watch", work / "loop.yaml"]
    options = ["--fleet", work / "fleet", "--every", "1", "--turns", "1"]
    with child([*line, *options, "--until-stdin-closes"], work / "watch.log"):
        yield


def enrolled(work: Path, fleet: FleetClient, name: str, *, site: str, **others: Any) -> None:
    """Make ``work/devices/<name>`` a device with the label ``site``, where it is none yet.

    ``others``: further settings of the agent, ``model`` (the loop's name) among them.
    """
    folder = work / "devices" / name
    if (folder / SETTINGS).exists():
        return
    enrol(
        folder,
        server=fleet.url,
        token=fleet.create_token({"site": site}).token,
        name=name,
        ca=fleet.ca.read_text() if fleet.ca else "",
        root=(work / "repository" / "metadata" / "1.root.json").read_bytes(),
        labels={"site": site},
        **others,
    )


def _tls(folder: Path) -> Tls | None:
    """https, but where devices of an earlier start ask for http."""
    began = Settings(folder=folder, repository=folder, layout=folder)
    return None if began.began_with_http else Tls()


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
    raise UnreachableError("control plane", "must come up", todo=f"See {folder / 'log'}")
