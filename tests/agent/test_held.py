"""One agent in one folder, and who it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.agent.world import World

from edgeloop.agent import held
from edgeloop.agent.agent import Agent
from edgeloop.errors import AgentFolderError


def test_two_agents_never_share_a_folder(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "fleet" / "d1"
    with pytest.raises(AgentFolderError) as caught:
        Agent.open(folder)
    assert str(caught.value) == (
        f"[E504] agent folder {folder} must be used by one agent, "
        f"got one that runs already, process {os.getpid()}. "
        "End the other one, or give this one a folder of its own"
    )


def test_a_folder_is_held_for_as_long_as_its_agent_lives(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "fleet" / "d1"
    assert held.running(folder) == (True, os.getpid())
    world.fleet.cut_power("d1")
    assert (folder / held.LOCK).read_text() == str(os.getpid())
    assert held.running(folder) == (False, None)


def test_to_ask_who_holds_a_folder_does_not_hold_it(tmp_path: Path) -> None:
    assert held.running(tmp_path) == (False, None)
    held.hold(tmp_path).close()
    assert held.running(tmp_path) == (False, None)
    held.hold(tmp_path).close()


def test_a_disk_without_room_for_the_number_keeps_no_agent_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with held.hold(tmp_path):
        assert held.running(tmp_path) == (True, None)
