"""Programs of a device's owner beside an update: asked before a state's work, told behind it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from edgeloop.agent import hooks as hooks_module
from edgeloop.agent.hooks import NAMES, Hooks, check
from edgeloop.errors import HookError
from edgeloop.protocol.messages import State

ABOUT = {"state": "trying", "version": 4, "rollout": None, "bundle": "sha256:ab"}


def hook(folder: Path, name: str, lines: str, mode: int = 0o755) -> Path:
    place = folder / "hooks"
    place.mkdir(mode=0o755, exist_ok=True)
    path = place / name
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(mode)
    return path


def refused(hooks: Hooks, state: State = State.TRYING) -> str:
    with pytest.raises(HookError) as caught:
        hooks.before(state, ABOUT)
    return str(caught.value)


def test_without_a_hook_the_update_goes_on(tmp_path: Path) -> None:
    assert Hooks(folder=tmp_path).before(State.TRYING, ABOUT) is True


def test_a_hook_lets_it_go_on_says_not_now_or_refuses(tmp_path: Path) -> None:
    hooks = Hooks(folder=tmp_path)
    hook(tmp_path, "before-trying", "exit 0")
    assert hooks.before(State.TRYING, ABOUT) is True
    hook(tmp_path, "before-trying", "exit 75")
    assert hooks.before(State.TRYING, ABOUT) is False
    hook(tmp_path, "before-trying", "exit 1")
    assert refused(hooks) == (
        "[E511] hook before-trying must end with status 0, or with 75 for not now, got 1. "
        "The update was refused; the device keeps the slot that it has"
    )


def test_a_hook_is_told_of_the_update_and_of_little_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    hook(tmp_path, "after-trying", "cat > told.json; env > told.env")
    Hooks(folder=tmp_path).after(State.TRYING, ABOUT)
    assert json.loads((tmp_path / "hooks/told.json").read_text()) == ABOUT
    lines = (tmp_path / "hooks/told.env").read_text().splitlines()
    assert {"EDGELOOP_STATE=trying", "EDGELOOP_VERSION=4"} <= set(lines)
    assert not [line for line in lines if line.startswith(("SECRET", "EDGELOOP_ROLLOUT"))]


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_hook_that_others_may_write_is_not_run(tmp_path: Path, mode: int) -> None:
    path = hook(tmp_path, "before-trying", "touch ran", mode)
    assert refused(Hooks(folder=tmp_path)) == (
        "[E511] hook before-trying must belong to the agent's user or to root, and be writable by "
        f"nobody else, got owner {os.geteuid()}, mode {mode:04o}. "
        "Run `chmod go-w` on it, once you have looked at what it says"
    )
    assert not (path.parent / "ran").exists()


def test_a_folder_that_others_may_write_has_no_hook_that_is_run(tmp_path: Path) -> None:
    hook(tmp_path, "before-trying", "exit 0").parent.chmod(0o777)
    assert refused(Hooks(folder=tmp_path)).startswith("[E511] hooks must belong to")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_hook_of_another_user_is_not_run(tmp_path: Path) -> None:
    os.chown(hook(tmp_path, "before-trying", "exit 0"), 12345, 12345)
    assert "got owner 12345, mode 0755" in refused(Hooks(folder=tmp_path))


def test_a_link_and_a_file_that_cannot_run_are_no_hooks(tmp_path: Path) -> None:
    real = hook(tmp_path, "elsewhere", "exit 0")
    (tmp_path / "hooks/before-trying").symlink_to(real)
    hook(tmp_path, "before-verifying", "exit 0", 0o644)
    hooks = Hooks(folder=tmp_path)
    assert refused(hooks, State.VERIFYING) == (
        "[E511] hook before-verifying must be one that can be executed"
    )
    assert refused(hooks) == "[E511] hook before-trying must be a plain file, and no link to one"


def test_a_hook_that_does_not_end_goes_with_all_that_it_started(tmp_path: Path) -> None:
    hook(tmp_path, "before-trying", "sleep 1000 & echo $! > child; wait")
    hooks = Hooks(folder=tmp_path, seconds=0.5)
    assert refused(hooks) == "[E511] hook before-trying must end within 0.5 s"
    child = int((tmp_path / "hooks/child").read_text())
    for _ in range(200):  # whoever adopted it buries it
        if not Path(f"/proc/{child}").exists() or "Z" in _state(child):
            return
        time.sleep(0.01)
    pytest.fail("what the hook had started lives on")


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_what_a_hook_says_behind_a_move_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook(tmp_path, "after-probation", "exit 3")
    hook(tmp_path, "after-trying", "exit 0", 0o777)
    hooks = Hooks(folder=tmp_path)
    hooks.after(State.PROBATION, ABOUT)
    hooks.after(State.TRYING, ABOUT)
    assert [record.message[:38] for record in caplog.records] == [
        "hook.failed name=after-probation statu",
        "hook.failed fault=[E511] hook after-tr",
    ]


def test_a_hook_that_goes_while_it_is_looked_at_refuses_before_and_changes_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(path: Path) -> None:
        path.unlink()
        check(path)

    monkeypatch.setattr(hooks_module, "check", gone)
    hooks = Hooks(folder=tmp_path)
    hook(tmp_path, "before-trying", "exit 0")
    said = "[E511] hook before-trying must be readable, got No such file or directory"
    assert refused(hooks) == said
    hook(tmp_path, "after-trying", "exit 0")
    hooks.after(State.TRYING, ABOUT)
    assert caplog.records[-1].message == f"hook.failed fault={said.replace('before', 'after')}"


def test_names_that_no_state_has_are_found(tmp_path: Path) -> None:
    for name in ("before-install", "after-committed", *NAMES):
        hook(tmp_path, name, "exit 0")
    assert Hooks(folder=tmp_path).unknown() == ["after-committed", "before-install"]
