"""The agent as a payload, and its environments, without processes; with them: tests/processes."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeloop.agent import launcher
from edgeloop.agent.agent_payload import AgentHandler, AgentParts, AgentPayload
from edgeloop.agent.commands import Commands
from edgeloop.agent.device import Device
from edgeloop.agent.environments import Environments
from edgeloop.agent.launcher import Pointer
from edgeloop.agent.payload import TRY_AGAIN, WATCH_ON
from edgeloop.agent.slots import Slots
from edgeloop.errors import DiskFullError, HandlerError, ModelError
from edgeloop.protocol.messages import ReleaseRef, RolloutPlan

PLAN = RolloutPlan()
OLD, NEW = (
    ReleaseRef(name="a", channel="c", version=number, digest="sha256:" + str(number) * 64)
    for number in (1, 2)
)


class Made(Commands):
    """In place of ``venv``: the folders, and an interpreter."""

    def run(
        self, thing: str, command: Sequence[str], environment: Mapping[str, str], timeout: float
    ) -> str:
        assert (environment, timeout) == ({}, 600)
        if "venv" in thing:
            stand(Path(command[-1]))
        return "elsewhere"


def stand(place: Path) -> None:
    (place / "bin").mkdir(parents=True)
    (place / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    (place / "bin" / "python").write_text("")
    (place / "bin" / "python").chmod(0o755)


@dataclass
class Old:
    """The old agent of a folder, whose slots say that the new one is in charge."""

    folder: Path
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = Slots(self.folder)
        self.slots.switch(OLD, 0)
        self.slots.switch(NEW, 0)
        self.environments = Environments(folder=self.folder, python="python", commands=Made())
        self.old, self.new = self.environments.name(OLD), self.environments.name(NEW)
        for name in (self.old, self.new):
            stand(self.folder / launcher.PLACES / name)
        self.point(Pointer(current=self.old, trying=self.new))

    def point(self, pointer: Pointer) -> None:
        launcher.write(self.folder, pointer)

    @property
    def pointer(self) -> Pointer:
        return launcher.read(self.folder)

    def payload(self) -> AgentPayload:
        return AgentPayload(
            AgentParts(
                folder=self.folder, slots=self.slots, environments=self.environments,
                device=Device(target="any", execution="", runtimes=()), handler=AgentHandler(),
                running=self.old, reported=lambda: False,
                restart=lambda: self.asked.append("restart"),
            )
        )  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def test_the_old_agent_asks_for_a_new_start_when_the_disk_lets_the_launcher_count_it(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload, before = old.payload(), old.pointer
    assert payload.restarted(NEW, PLAN) == WATCH_ON

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError):
            payload.watch()
    assert old.asked == []
    assert payload.watch() == WATCH_ON
    assert (old.asked, old.pointer) == (["restart"], before)


@pytest.mark.parametrize("said", ["trying", "returned"])
def test_an_agent_that_has_not_reported_never_becomes_the_current_one(old: Old, said: str) -> None:
    pointer = Pointer(current=old.old, **{said: old.new})
    old.point(pointer)
    with pytest.raises(ModelError) as caught:
        old.payload().open(NEW)
    assert str(caught.value) == (
        "[E120] environment 2222222222222222 of the agent must have reported before it is current"
    )
    assert (old.pointer, old.asked) == (pointer, [])


def test_a_return_that_a_power_cut_broke_off_is_not_taken_for_a_trial(old: Old) -> None:
    old.slots.restore(0)  # and the launcher's file still says that the new one is on trial
    payload = old.payload()
    assert payload.restarted(NEW, PLAN) == TRY_AGAIN
    payload.open(OLD)
    assert old.pointer == Pointer(current=old.old)


def test_an_environment_that_lost_its_interpreter_is_not_there_and_is_made_anew(
    old: Old, tmp_path: Path
) -> None:
    python = old.folder / launcher.PLACES / old.new / "bin" / "python"
    python.unlink()
    python.symlink_to(tmp_path / "python-that-was-replaced")
    with pytest.raises(ModelError) as caught:
        old.payload().open(NEW)
    assert str(caught.value) == (
        "[E120] environment of the agent must be there, got no 2222222222222222"
    )
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"")
    old.environments.make(NEW, {wheel.name: wheel})
    assert old.environments.there(old.new)


@pytest.mark.parametrize("name", ["x.whl", "a-1 --index-url=x-py3-none-any.whl", "ä-1-x-y-z.whl"])
def test_a_wheel_that_is_named_as_none_is_refused(tmp_path: Path, name: str) -> None:
    environments = Environments(folder=tmp_path, python="python", commands=Made())
    wheel = tmp_path / "file"
    wheel.write_bytes(b"")
    with pytest.raises(HandlerError) as caught:
        environments.make(NEW, {name: wheel})
    assert str(caught.value) == (
        f"[E513] wheel {name} must be named as wheels are: package-version-python-abi-platform.whl"
    )
    assert not environments.there(environments.name(NEW))
