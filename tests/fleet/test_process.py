"""The control plane as a real process: start, end, kill, and a port that is taken."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeloop.errors import PortInUseError, UnreachableError
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.server import serve
from edgeloop.fleet.settings import Settings

PATIENCE = 60.0  # seconds; a loaded machine imports slowly


class Server:
    """One process at a time on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> FleetClient:
        self.forget()
        command = [sys.executable, "-m", "edgeloop.fleet", "--folder", str(self.folder), *more]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                client = FleetClient.of_folder(self.folder)
                client.health()
            except UnreachableError:
                time.sleep(0.05)
            else:
                running = json.loads((self.folder / "fleet.json").read_text())
                if running["pid"] == self.process.pid:
                    return client
        raise AssertionError("the control plane did not start")

    def forget(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def send(self, what: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(what)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "fleet")
    yield server
    server.forget()


def test_it_ends_cleanly_when_told_to_and_when_its_parent_is_gone(server: Server) -> None:
    client = server.start("--until-stdin-closes")
    assert client.devices() == []
    assert client.health().ticked is not None
    assert server.process is not None
    assert server.process.stdin is not None
    server.process.stdin.close()
    assert server.wait() == 0
    assert not (server.folder / "fleet.json").exists()
    server.start()
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert not (server.folder / "fleet.json").exists()


def test_a_killed_one_starts_again_with_all_that_it_had_said_yes_to(server: Server) -> None:
    client = server.start()
    client.create_token({"site": "south"})
    for number in range(20):
        client.note("trigger.fired", str(number), {})
    before = list(client.audit())
    server.send(signal.SIGKILL)
    server.wait()
    again = server.start()
    assert list(again.audit()) == before
    assert len(before) == 22


def write_until_it_is_gone(client: FleetClient, said_yes_to: list[str], name: str) -> None:
    for number in itertools.count():
        try:
            client.note("trigger.fired", f"{name}-{number}", {"padding": "x" * 20_000})
        except UnreachableError:
            return
        said_yes_to.append(f"{name}-{number}")


def test_one_that_is_killed_in_the_middle_of_writes_keeps_each_whole_or_not_at_all(
    server: Server,
) -> None:
    client = server.start()
    said_yes_to: list[str] = []
    with ThreadPoolExecutor(4) as writers:
        for name in "abcd":
            writers.submit(write_until_it_is_gone, client, said_yes_to, name)
        until = time.monotonic() + PATIENCE
        while len(said_yes_to) < 40 and time.monotonic() < until:
            time.sleep(0.005)
        server.send(signal.SIGKILL)
    lines = [line for line in server.start().audit() if line.action == "trigger.fired"]
    kept = [line.subject for line in lines]
    assert len(said_yes_to) >= 40
    assert set(said_yes_to) <= set(kept)
    assert len(kept) == len(set(kept))
    assert all(line.detail == {"padding": "x" * 20_000} for line in lines)


def test_a_port_that_is_taken_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = Settings(
            folder=tmp_path / "fleet", repository=tmp_path, layout=tmp_path, port=port
        )
        with pytest.raises(PortInUseError) as caught:
            serve(settings)
    assert str(caught.value) == (
        f"[E605] address 127.0.0.1:{port} must be free to listen on, got {os.strerror(98)}. "
        "End the other program, or choose another port (0 takes any free one)"
    )
    assert not (tmp_path / "fleet").exists()
