"""The figures of the harnesses, as `make test-hard` printed them: crash states, kills, weather.

Reads ``test-hard.log``, which that command leaves; without one, runs it first.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from figure import Figure, Measured, main, not_measured

HERE = Path(__file__).parent
LOG = HERE.parent / "test-hard.log"
HEAD = re.compile(r"^_+ (test_\w+)(?:\[.*\])? _+$", re.MULTILINE)
CALL = re.compile(r"^([\d.]+)s call +\S+::(test_\w+)", re.MULTILINE)
WHOLE = re.compile(r"(\d+) passed.* in ([\d.]+)s")
LONGEST = 45 * 60  # seconds of them all, on two cores


@dataclass(frozen=True, kw_only=True)
class Harness:
    """Tests by the beginnings of their names; ``read`` makes a value of what they printed."""

    what: str
    tests: tuple[str, ...]
    read: Callable[[str], str]
    target: str


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a run printed: texts of the tests that passed, and the seconds of each test."""

    passed: Mapping[str, str]
    failed: frozenset[str]
    seconds: Mapping[str, float]
    whole: float | None

    @classmethod
    def of(cls, log: str) -> Printed:
        """What is in a log."""
        broken, _, rest = log.partition("= PASSES =")
        passed: dict[str, str] = {}
        parts = HEAD.split(rest.partition("= slowest durations =")[0])
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            passed[name] = passed.get(name, "") + text
        seconds: dict[str, float] = {}
        for count, name in CALL.findall(log):
            seconds[name] = seconds.get(name, 0.0) + float(count)
        whole = WHOLE.search(log)
        failed = frozenset(HEAD.findall(broken))
        return cls(
            passed=passed, failed=failed, seconds=seconds,
            whole=float(whole[2]) if whole else None,
        )  # fmt: skip


def _sum(words: str, text: str) -> int:
    """Of the numbers that stand behind these words."""
    return sum(int(one) for one in re.findall(rf"\b{words}\s+(\d+)", text))


def _cuts(text: str) -> str:
    return f"{_sum('crash states tried', text)} / {_sum('failed', text)}"


def _kills(text: str) -> str:
    return f"{_sum('kills', text)} / {_sum('lost', text) + _sum('doubled', text)}"


def _update(text: str) -> str:
    return f"{_sum('kills', text)} / {_sum('devices without an agent', text)}"


def _tampered(text: str) -> str:
    return f"{_sum('tampered releases refused:', text)}"


def _day(text: str) -> str:
    return f"{_sum('faults met', text)} faults, {_sum('power cuts', text)} power cuts"


def _wire(text: str) -> str:
    faults, windows = _sum("faults on the wire", text), _sum("acknowledged windows", text)
    lost = _sum("lost", text) + _sum("doubled", text)
    return f"{faults} faults, {windows} windows / {lost}"


def _switches(text: str) -> str:
    names = ("slot switches", "answers", "failed", "mixed")
    return " / ".join(str(_sum(words, text)) for words in names)


def _full(text: str) -> str:
    return f"{_sum('full disks tried', text)} / {_sum('failed', text)}"


HARNESSES = (
    Harness(
        what="crash states tried / devices without an answer",
        tests=("test_every_legal_disk", "test_a_second_power_cut"),
        read=_cuts,
        target="100,000 or more / 0",
    ),
    Harness(
        what="kills / lost or doubled acknowledged windows",
        tests=("test_a_device_that_is_killed_500",),
        read=_kills,
        target="500 / 0",
    ),
    Harness(
        what="kills of an agent that updates itself / devices without an agent",
        tests=("test_an_agent_that_is_killed_many",),
        read=_update,
        target="all / 0",
    ),
    Harness(
        what="tampered releases refused",
        tests=("test_every_tampered_release",),
        read=_tampered,
        target="500 of 500",
    ),
    Harness(
        what="200 devices in 24 simulated hours of bad weather",
        tests=("test_a_fleet_comes_through_a_day",),
        read=_day,
        target="all on the right release, every acknowledged window counted once",
    ),
    Harness(
        what="a device on a wire in bad weather, twenty rollouts / windows lost or doubled",
        tests=("test_a_device_comes_through_twenty",),
        read=_wire,
        target="0",
    ),
    Harness(
        what="disks that are full at a write of an update / devices stuck",
        tests=("test_a_disk_that_is_full",),
        read=_full,
        target="all / 0",
    ),
    Harness(
        what="slot switches at 200 requests/s / answers / failed / mixed",
        tests=("test_200_switches",),
        read=_switches,
        target="200 / any / 0 / 0",
    ),
)


def measure(_work: Path) -> Measured:
    """All, in order; a harness of which a test failed is a missed figure."""
    if not LOG.exists():
        subprocess.run(["make", "test-hard"], check=False, cwd=HERE.parent)
    printed = Printed.of(LOG.read_text())
    figures = [_figure(harness, printed) for harness in HARNESSES]
    if printed.whole is not None:
        figures.append(_in_all(printed.whole))
    return Measured(figures=tuple(figures))


def _figure(harness: Harness, printed: Printed) -> Figure:
    named = [name for name in (*printed.passed, *printed.failed) if name.startswith(harness.tests)]
    if not named:
        return not_measured(harness.what, "its tests did not run", harness.target)
    failed = sorted(name for name in named if name in printed.failed)
    text = "".join(printed.passed.get(name, "") for name in named)
    share = sum(printed.seconds.get(name, 0.0) for name in named)
    return Figure(
        what=harness.what,
        value=harness.read(text),
        target=harness.target,
        met=not failed,
        reason=f"failed: {', '.join(failed)}" if failed else "",
        parts=(f"{share:.0f} s of one core's time, or less",),
    )


def _in_all(seconds: float) -> Figure:
    return Figure(
        what="`make test-hard` in all",
        value=f"{seconds / 60:.1f} minutes",
        target=f"{LONGEST / 60:.0f} minutes",
        met=seconds <= LONGEST,
        reason="" if seconds <= LONGEST else "longer than it should",
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
