"""Fuzz the targets, each in a process of its own, for a stated time: ``fuzz.py --seconds 180``.

Guided by coverage (atheris, libFuzzer's Python). A finding is kept in ``tests/fuzz/found/``, where
``test_targets.py`` tries it again for ever. The exit status is 0 when nothing was found.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
FOUND = HERE / "found"
MEMORY = Path("/dev/shm")
EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
LARGEST = 1 << 16  # bytes of one input
LONGEST = 10  # seconds of one input; libFuzzer calls more a finding


def main() -> int:
    """Run all, or the one that was named in this very process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="these targets alone")
    parser.add_argument("--seconds", type=int, default=180, help="of each target")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return inside(given.names[0], given.seconds, given.inside)
    found = [name for name in given.names or names() if not fuzzed(name, given.seconds)]
    print(f"targets with findings: {', '.join(found) or 'none'}")
    return 1 if found else 0


def names() -> Sequence[str]:
    """All targets."""
    from tests.fuzz.targets import targets

    with TemporaryDirectory() as folder:
        return tuple(targets(Path(folder)))


def fuzzed(name: str, seconds: int) -> bool:
    """Whether a target came through; prints its line."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        line = [sys.executable, __file__, name, "--seconds", str(seconds), "--inside", folder]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    executions = EXECUTIONS.search(done.stderr)
    count = executions[1] if executions else "?"
    print(
        f"{name:14}{count:>10} executions  {'nothing found' if done.returncode == 0 else 'FOUND'}"
    )
    if done.returncode != 0:
        print(done.stderr[-3000:])
    sys.stdout.flush()
    return done.returncode == 0


def inside(name: str, seconds: int, folder: Path) -> int:
    """Fuzz one target until its time is over; libFuzzer ends this process."""
    import atheris

    with atheris.instrument_imports(include=["edgeloop", "http_sf", "http_message_signatures"]):
        from tests.fuzz.targets import targets

    (folder / "work").mkdir()
    (folder / "corpus").mkdir()
    target = targets(folder / "work")[name]
    for number, seed in enumerate(target.seeds):
        (folder / "corpus" / f"seed-{number}").write_bytes(seed)
    kept = FOUND / name
    kept.mkdir(parents=True, exist_ok=True)
    options = (
        f"-max_total_time={seconds}", f"-max_len={LARGEST}", f"-timeout={LONGEST}",
        "-rss_limit_mb=4096", "-print_final_stats=1", f"-artifact_prefix={kept}/",
    )  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], target.try_out)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "src")]
    sys.exit(main())
