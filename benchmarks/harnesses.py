"""The figures of the harnesses: crash states, kills, tampering, attacks, weather, switches.

Runs what ``make test-hard`` runs of them, one after the other, and keeps what each printed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from figure import Figure, Measured, main

HERE = Path(__file__).parent
ROOM = HERE.parent / "tests"
LONGEST = 2400.0  # seconds of one harness
PASSED = re.compile(r"(\d+) passed")


@dataclass(frozen=True, kw_only=True)
class Harness:
    """Tests by their files; ``read`` makes a value of what they printed."""

    what: str
    files: tuple[str, ...]
    read: Callable[[str], str]
    target: str
    hard: bool = True


def _sum(words: str, text: str) -> int:
    """Of the numbers that stand behind these words."""
    return sum(int(one) for one in re.findall(rf"{words}\s+(\d+)", text))


def _cuts(text: str) -> str:
    tried, failed = _sum("crash states tried", text), _sum("failed", text)
    return f"{tried} crash states, {failed} devices without an answer"


def _kills(text: str) -> str:
    kills, lost, doubled = (_sum(word, text) for word in ("kills", "lost", "doubled"))
    return f"{kills} kills, {lost} lost, {doubled} doubled"


def _tampered(text: str) -> str:
    return f"{_sum('tampered releases refused:', text)} refused"


def _passed(text: str) -> str:
    return f"{sum(int(one) for one in PASSED.findall(text))} tests passed"


def _weather(text: str) -> str:
    return f"{_sum('faults met', text)} faults, {_sum('power cuts', text)} power cuts"


def _switches(text: str) -> str:
    names = {"slot switches": "switches", "answers": "answers", "failed": "failed"}
    told = (f"{_sum(words, text)} {name}" for words, name in {**names, "mixed": "mixed"}.items())
    return ", ".join(told)


def _full(text: str) -> str:
    return f"{_sum('full disks tried', text)} full disks, {_sum('failed', text)} devices stuck"


HARNESSES = (
    Harness(
        what="crash states tried / devices without an answer",
        files=("agent/test_every_cut.py",),
        read=_cuts,
        target="100,000 or more / 0",
    ),
    Harness(
        what="kills / lost or doubled acknowledged signals",
        files=("processes/test_kills.py",),
        read=_kills,
        target="500 / 0",
    ),
    Harness(
        what="tampered releases refused",
        files=("hostile/test_tampered_releases.py",),
        read=_tampered,
        target="500 of 500",
    ),
    Harness(
        what="attacks of the TUF specification",
        files=("hostile/test_attacks.py", "hostile/test_compromise.py"),
        read=_passed,
        target="all refused",
        hard=False,
    ),
    Harness(
        what="200 devices in 24 simulated hours of bad weather",
        files=("weather/test_a_day.py",),
        read=_weather,
        target="all on the right release, every acknowledged window counted once",
    ),
    Harness(
        what="a disk that is full at each write of an update",
        files=("weather/test_full_disk.py",),
        read=_full,
        target="0 devices stuck",
    ),
    Harness(
        what="answers failed or mixed over 200 slot switches at 200 requests/s",
        files=("weather/test_switches.py",),
        read=_switches,
        target="0",
    ),
)


def measure(work: Path) -> Measured:
    """All, in order; a harness that fails is a missed figure with its last line."""
    work.mkdir(parents=True, exist_ok=True)
    return Measured(figures=tuple(_figure(one) for one in HARNESSES))


def _figure(harness: Harness) -> Figure:
    line = [sys.executable, "-m", "pytest", "-s", *(["-m", "hard"] if harness.hard else [])]
    files = [str(ROOM / file) for file in harness.files]
    began = time.monotonic()
    done = subprocess.run(
        [*line, *files], capture_output=True, text=True, check=False, timeout=LONGEST,
        cwd=HERE.parent,
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or ["nothing was printed"])[-1]
    met = done.returncode == 0
    return Figure(
        what=harness.what,
        value=harness.read(done.stdout),
        target=harness.target,
        met=met,
        reason="" if met else last,
        parts=(f"{time.monotonic() - began:.0f} s",),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
