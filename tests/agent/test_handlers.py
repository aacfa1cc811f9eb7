"""Handlers with the real RAUC and podman where they are installed, SWUpdate's with a stand-in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeloop.agent.commands import Commands, InterruptedCommandError
from edgeloop.agent.handlers import Action, Work, open_handler
from edgeloop.errors import HandlerError
from edgeloop.protocol.messages import ReleaseRef
from edgeloop.testing.handlers import check_handler

REF = ReleaseRef(name="gateway-os", channel="stable", version=2, digest="sha256:" + "ab" * 32)
BOOTLOADER = """#!/bin/sh
d={place}/boot; mkdir -p $d
case "$1" in
 get-primary) cat $d/primary 2>/dev/null || echo A;;
 set-primary) echo $2 > $d/primary;;
 get-state) cat $d/state-$2 2>/dev/null || echo good;;
 set-state) echo $3 > $d/state-$2;;
esac
"""
SYSTEM = """[system]
compatible=edgeloop-test
bootloader=custom
statusfile={place}/status
mountprefix={place}/mnt
bundle-formats=plain
[handlers]
bootloader-custom-backend={place}/bootloader
[keyring]
path={place}/cert.pem
[slot.rootfs.0]
device={place}/a.img
type=raw
bootname=A
[slot.rootfs.1]
device={place}/b.img
type=raw
bootname=B
"""
MANIFEST = "[update]\ncompatible=edgeloop-test\nversion=2\n[bundle]\nformat=plain\n"


def work(folder: Path, noted: str = "", before: Path | None = None) -> Work:
    return Work(ref=REF, folder=folder, before=before, commands=Commands(), noted=noted)


def ask(*command: object) -> str:
    line = [str(part) for part in command]
    return subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().split()[2] not in "ZX"
    except FileNotFoundError:
        return False


class Board:
    """A device whose disk, bootloader and slots are files, under the real RAUC service."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._running: list[int] = []
        ask(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 30, "-subj",
            "/CN=test", "-keyout", place / "key.pem", "-out", place / "cert.pem",
        )  # fmt: skip
        (place / "bootloader").write_text(BOOTLOADER.format(place=place))
        (place / "bootloader").chmod(0o755)
        (place / "system.conf").write_text(SYSTEM.format(place=place))
        for name in ("a.img", "b.img"):
            (place / name).write_bytes(bytes(1 << 18))

    def bundle(self, folder: Path, data: bytes) -> None:
        content = self.place / "content"
        content.mkdir()
        (content / "rootfs.img").write_bytes(data)
        (content / "manifest.raucm").write_text(f"{MANIFEST}[image.rootfs]\nfilename=rootfs.img\n")
        keys = (f"--cert={self.place}/cert.pem", f"--key={self.place}/key.pem")
        ask("rauc", *keys, "bundle", content, folder / "os.raucb")

    def boot(self, slot: str) -> dict[str, Any]:
        """Restart into a slot; gives the handler's settings."""
        self.off()
        bus = ask("dbus-daemon", "--session", "--fork", "--print-address=1", "--print-pid=1")
        address, pid = bus.split()
        told = {"DBUS_SESSION_BUS_ADDRESS": address, "DBUS_STARTER_BUS_TYPE": "session"}
        service = subprocess.Popen(
            ["rauc", "-c", self.place / "system.conf", f"--override-boot-slot={slot}", "service"],
            env={**os.environ, **told},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._service = service
        self._running = [int(pid)]
        program = ["env", *(f"{name}={value}" for name, value in told.items()), "rauc"]
        program += ["-c", str(self.place / "system.conf")]
        for _ in range(100):
            if not subprocess.run(
                [*program, "status"], capture_output=True, check=False
            ).returncode:
                break
            time.sleep(0.05)
        return {"kind": "rauc", "program": program, "restart": ["true"]}

    def off(self) -> None:
        for pid in self._running:
            self._service.terminate()
            self._service.wait(20)
            os.kill(pid, signal.SIGTERM)
        self._running = []

    def primary(self) -> str:
        return (self.place / "boot" / "primary").read_text().strip()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    missing = [name for name in ("rauc", "dbus-daemon", "openssl") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root, and {', '.join(missing) or 'nothing else'}")
    place = tmp_path / "board"
    place.mkdir()
    board = Board(place)
    yield board
    board.off()


def test_rauc_installs_into_the_other_slot_and_marks_it_good(board: Board, tmp_path: Path) -> None:
    data = os.urandom(50_000)
    board.bundle(tmp_path, data)
    handler = open_handler(board.boot("A"))
    noted = handler.do(Action.ADMIT, work(tmp_path))
    assert noted == "A"
    handler.do(Action.INSTALL, work(tmp_path, noted))
    assert (board.place / "b.img").read_bytes().startswith(data)
    assert board.primary() == "B"
    handler = open_handler(board.boot("B"))
    handler.do(Action.CHECK, work(tmp_path, noted))
    handler.do(Action.COMMIT, work(tmp_path, noted))
    assert (board.place / "boot" / "state-B").read_text().strip() == "good"


@pytest.mark.parametrize("booted", ["A", "B"])
def test_rauc_goes_back_to_the_slot_before_whichever_is_booted(
    board: Board, tmp_path: Path, booted: str
) -> None:
    board.bundle(tmp_path, b"new" * 1000)
    handler = open_handler(board.boot("A"))
    handler.do(Action.INSTALL, work(tmp_path, "A"))
    handler = open_handler(board.boot(booted))
    for _ in range(2):  # done twice, it is as done once
        handler.do(Action.ROLL_BACK, work(tmp_path, "A"))
    assert board.primary() == "A"
    assert (board.place / "boot" / "state-B").read_text().strip() == "bad"


def test_a_bootloader_that_went_back_by_itself_is_seen(board: Board, tmp_path: Path) -> None:
    handler = open_handler(board.boot("A"))
    with pytest.raises(HandlerError) as caught:
        handler.do(Action.CHECK, work(tmp_path, "A"))
    assert str(caught.value) == (
        "[E513] gateway-os release 2 must be what the device booted, got A, as before"
    )


@pytest.fixture
def short() -> Iterator[Path]:
    """podman takes no longer path than 50 characters for its sockets."""
    with tempfile.TemporaryDirectory(prefix="pod") as place:
        yield Path(place)


def test_podman_loads_an_image_and_goes_back_by_name(tmp_path: Path, short: Path) -> None:
    if not shutil.which("podman") or os.geteuid() != 0:
        pytest.skip("needs root, and podman")
    program = ["podman", "--root", str(short / "root"), "--runroot", str(short / "run")]
    program += ["--storage-driver", "vfs"]
    folders = []
    for number in (1, 2):
        folder = tmp_path / f"slot{number}" / "files"
        folder.mkdir(parents=True)
        (tmp_path / "f").write_text(f"{number}")
        ask("tar", "-C", tmp_path, "-cf", tmp_path / "layer.tar", "f")
        ask(*program, "import", tmp_path / "layer.tar", "localhost/made:x")
        ask(*program, "save", "-o", folder / "app.tar", "localhost/made:x")
        ask(*program, "rmi", "localhost/made:x")
        folders.append(folder)

    def current() -> str:
        return ask(*program, "inspect", "--format", "{{.Id}}", "localhost/app:current").strip()

    told = {"kind": "container", "program": program, "image": "localhost/app", "start": ["true"]}
    handler = open_handler(told)
    handler.do(Action.INSTALL, work(folders[0]))
    first = current()
    handler.do(Action.INSTALL, work(folders[1], before=folders[0]))
    assert current() != first
    handler.do(Action.ROLL_BACK, work(folders[1], before=folders[0]))
    assert current() == first


def recording(place: Path) -> list[str]:
    program = place / "program"
    program.write_text(f'#!/bin/sh\necho "$@" >> {place}/calls\n')
    program.chmod(0o755)
    return [str(program)]


def test_swupdate_is_asked_to_look_and_to_install(tmp_path: Path) -> None:
    """By a program that writes down how it is called: SWUpdate itself needs a real board's disk."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "os.swu").touch()
    program = recording(tmp_path)
    told = {"kind": "swupdate", "program": program, "commit": [*program, "ustate", "0"]}
    handler = open_handler({**told, "rollback": [*program, "ustate", "3"], "restart": []})
    check_handler(handler, work(folder))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == f"-c -i {folder}/os.swu"
    assert f"-i {folder}/os.swu" in calls
    assert f"ustate 0 {folder}" in calls


def test_the_script_keeps_the_contract_of_handlers(tmp_path: Path) -> None:
    program = recording(tmp_path)
    told = {"kind": "script", "install": [*program, "in"], "rollback": [*program, "out"]}
    folder = tmp_path / "files"
    folder.mkdir()
    check_handler(open_handler(told), work(folder))


def test_a_payload_of_several_files_is_no_firmware(tmp_path: Path) -> None:
    for name in ("a.raucb", "b.raucb"):
        (tmp_path / name).touch()
    with pytest.raises(HandlerError) as caught:
        open_handler({"kind": "rauc"}).do(Action.INSTALL, work(tmp_path))
    assert str(caught.value) == (
        "[E513] gateway-os release 2 must have one file *.raucb, got a.raucb, b.raucb"
    )


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(HandlerError) as caught:
        Commands().run("command", ["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], {}, 1)
    assert str(caught.value) == ("[E513] command must end within 1 s. It said: nothing")
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):  # it was sent SIGKILL; the system may need a moment
        if not alive(pid):
            return
        time.sleep(0.05)
    pytest.fail(f"{pid} lives on")


def test_an_agent_that_ends_ends_the_command_that_runs() -> None:
    commands = Commands()
    commands.end()
    with pytest.raises(InterruptedCommandError):
        commands.run("command", ["sleep", "60"], {}, 60)
