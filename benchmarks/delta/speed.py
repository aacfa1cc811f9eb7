"""How fast a delta is applied, and in how much memory: a process of its own.

Called as ``python -m delta.speed OLD DELTA NEW``; prints a line of JSON. Memory is what the process
grows by at its largest over what it was when everything was imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

RUNS = 3  # the best counts: others use this machine too
STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of one decode: new bytes a second; ``arrays`` is what Python and NumPy held at most.

    ``grown`` is the whole process's growth, which counts what the allocator keeps.
    """

    rate: float
    arrays: int
    grown: int


def measure(old: bytes, delta: bytes) -> Speed:
    """Apply in processes of their own, on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        was, told = Path(folder) / "old", Path(folder) / "delta"
        was.write_bytes(old)
        told.write_bytes(delta)
        runs = [_run(was, told, Path(folder) / "new", "time") for _ in range(RUNS)]
        traced = _run(was, told, Path(folder) / "new", "trace")
    return Speed(
        rate=max(one["rate"] for one in runs),
        arrays=int(traced["arrays"]),
        grown=int(min(one["grown"] for one in runs)),
    )


def _run(old: Path, delta: Path, new: Path, what: str) -> dict[str, float]:
    new.unlink(missing_ok=True)
    line = [sys.executable, "-m", "delta.speed", str(old), str(delta), str(new), what]
    here = Path(__file__).parents[1]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=here)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _inside(old: Path, delta: Path, new: Path, *, trace: bool) -> dict[str, float]:
    from edgeloop.delta.apply import apply

    before = _kib("VmRSS")
    if trace:
        tracemalloc.start()
    began = time.perf_counter()
    apply([old], delta, [new])
    seconds = time.perf_counter() - began
    held = tracemalloc.get_traced_memory()[1] if trace else 0
    grown = (_kib("VmHWM") - before) * 1024
    return {"rate": new.stat().st_size / seconds, "arrays": held, "grown": grown}


def _kib(what: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


if __name__ == "__main__":
    *paths, asked = sys.argv[1:]
    was, told, made = map(Path, paths)
    print(json.dumps(_inside(was, told, made, trace=asked == "trace")))
