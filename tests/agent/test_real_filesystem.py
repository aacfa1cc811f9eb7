"""The loss model of the recording disk, held against a file system that really forgets.

The same life of a device on a mount (FUSE) that keeps through a power cut what was synced, and
nothing else: SQLite's files too, which the recording disk only believes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from tests.agent.every_cut import Trials, swift
from tests.agent.lives import Known, Life

from edgeloop import durable
from edgeloop.agent.states import Event, Ledger

SERVER = Path(__file__).with_name("lossy_fs.py")
PATIENCE = 10.0  # seconds for a mount


@contextmanager
def mounted(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A mount, and where its cuts come to lie; skips where none is possible."""
    if importlib.util.find_spec("fuse") is None:
        pytest.skip("needs fusepy: pip install fusepy")
    mount, cuts = folder / "mount", folder / "cuts"
    mount.mkdir()
    cuts.mkdir()
    line = [sys.executable, SERVER, mount, cuts]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + PATIENCE
        while not os.path.ismount(mount):
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                said = process.stderr.read().strip().splitlines() if process.stderr else []
                pytest.skip(f"no FUSE mount here: {said[-1] if said else 'it did not come up'}")
            time.sleep(0.02)
        try:
            yield mount, cuts
        finally:
            subprocess.run(["umount", "--lazy", mount], check=False)
            process.wait(PATIENCE)


def lived(folder: Path) -> list[str]:
    """A whole life on a mount, cut at each move and each time the server knows more: failures."""
    with swift(), mounted(folder) as (mount, cuts):
        life, known, failures = Life(folder), list[Known](), list[str]()

        def cut(_: object = None) -> None:
            with suppress(OSError):  # ECANCELED: it was a sign, and made no folder
                (mount / f".cut-{len(known)}").mkdir()
            known.append(life.plane.known())

        life.plane.told = cut
        with life.fleet(mount) as fleet, at_moves(cut):
            fleet.add("d1", "token", opt_in=True, window_answers=10, signals_bytes=1)
            life._live(fleet)
        life.plane.told = lambda _: None
        trials = Trials(life)
        for number, one in enumerate(known):
            try:
                trials._try(one, cuts / str(number))
            except Exception as fault:  # noqa: BLE001  (whatever it is, the next is tried too)
                failures.append(f"cut {number}: {type(fault).__name__}: {fault}")
        print(f"power cuts on a FUSE mount {len(known)}, devices without an answer {len(failures)}")
        assert len(known) > 50
        return failures


@contextmanager
def at_moves(cut: Any) -> Iterator[None]:
    """Cut behind each move of the update, too."""
    move = Ledger.move

    def moved(ledger: Ledger, event: Event, **changes: Any) -> None:
        move(ledger, event, **changes)
        cut()

    with mock.patch.object(Ledger, "move", moved):
        yield


def test_what_was_synced_on_a_real_mount_is_enough(tmp_path: Path) -> None:
    assert lived(tmp_path) == []


def test_a_mount_that_forgets_shows_a_folder_that_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "sync_folder", lambda _: None)
    assert lived(tmp_path)
