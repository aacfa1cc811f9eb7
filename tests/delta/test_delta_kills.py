"""Power cuts, kills, and two at once: a new file is whole or absent, whenever it was."""

import random
import signal
import subprocess
import sys
import time

import pytest
from tests.delta.half_done import EVERY, TENSORS, Update, made

from edgeloop.delta import decode
from edgeloop.errors import DeltaError
from edgeloop.testing.cuts import Cuts, rebuild
from edgeloop.testing.disk import Recorder

CHILD = """
import sys
from pathlib import Path
from edgeloop.delta import decode
from edgeloop.delta.apply import apply
from edgeloop.errors import DeltaError
decode.EVERY = int(sys.argv[1])
source, folder = Path(sys.argv[2]), Path(sys.argv[3])
def came(size):
    print(size, flush=True)
    if sys.argv[4] == "wait":
        sys.stdin.readline()
try:
    old, new = [source / "a.old", source / "b.old"], [folder / "a", folder / "b"]
    apply(old, source / "delta", new, came)
except DeltaError as fault:
    sys.exit(str(fault))
"""
HELD = (
    "[E408] delta must be applied to a.partial by one process at a time. "
    "Wait for the other, or end it"
)
KILLS = 12


@pytest.fixture
def update(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "EVERY", EVERY)
    for name in ("source", "folder"):
        (tmp_path / name).mkdir()
    return Update.begun(tmp_path / "source", tmp_path / "folder")


def started(update, how="go"):
    line = [sys.executable, "-c", CHILD, EVERY, update.source, update.folder, how]
    return subprocess.Popen(
        [str(part) for part in line], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.hard
def test_a_power_cut_at_any_operation_leaves_new_files_whole_or_absent(update, tmp_path):
    recorder = Recorder(update.folder)
    with recorder.watching() as recording:
        update.apply()
    assert update.whole()
    tried, resumed, seen = 0, 0, set()
    for crash in Cuts(recording).some(per_cut=1):
        if crash.key in seen:
            continue
        seen.add(crash.key)
        place = tmp_path / f"cut-{tried}"
        place.mkdir()
        rebuild(crash.disk, place)
        after, wanted = Update(update.source, place), dict(zip("ab", made()[1], strict=True))
        there = after.there()
        assert all(there[name] == wanted[name] for name in {"a", "b"} & set(there)), crash.loss
        resumed += after.apply() < update.size
        assert after.whole(), (crash.loss, sorted(after.there()))
        tried += 1
    assert tried > 100
    assert resumed > 10


def test_a_kill_at_any_moment_is_gone_on_from_and_ends_whole(update):
    draw, resumed = random.Random(11), 0
    for _ in range(KILLS):
        with started(update, "wait") as child:
            for _ in range(draw.randrange(1, TENSORS + 1)):
                child.stdout.readline()
                child.stdin.write("\n")
                child.stdin.flush()
            time.sleep(draw.random() / 100)
            child.send_signal(signal.SIGKILL)
        noted = (update.folder / "a.progress").exists()
        came = update.apply()
        assert update.whole()
        assert not noted or came < update.size
        resumed += noted
        for path in update.folder.iterdir():
            path.unlink()
    assert resumed


def test_two_processes_do_not_work_on_the_same_files(update):
    with started(update, "wait") as first:
        assert first.stdout.readline()
        with pytest.raises(DeltaError) as fault:
            update.apply()
        assert str(fault.value) == HELD
        first.communicate("\n" * 99)
        assert first.returncode == 0
    assert update.whole()


def test_many_processes_at_once_end_with_whole_files(update):
    children = [started(update) for _ in range(3)]
    said = [child.communicate()[1].strip() for child in children]
    assert set(said) <= {"", HELD, HELD.replace("a.partial", "b.partial")}
    assert "" in said
    assert update.whole()
