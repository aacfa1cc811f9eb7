"""Figures as people read them: times, sizes, shares, and a check's value with its unit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeloop.loop.report.facts import CheckLine

KILO = 1000
UNIT = re.compile(r"(\d) (%|B|kB|MB|ms|s|min|h|d)(?!\w)")


def clock(seconds: float) -> str:
    """Time since the start: ``2:05`` (minutes), ``3:10 h``, ``2 d 4 h``."""
    total = max(round(seconds), 0)
    if total < 3600:
        return f"{total // 60}:{total % 60:02}"
    if total < 48 * 3600:
        return f"{total // 3600}:{total % 3600 // 60:02} h"
    return f"{total // 86400} d {total % 86400 // 3600} h"


def lasted(seconds: float) -> str:
    """A length of time: ``4 min 5 s``."""
    total = max(round(seconds), 0)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def size(count: float) -> str:
    """Bytes: ``412 B``, ``41.2 kB``, ``3.10 MB``."""
    if abs(count) < KILO:
        return f"{count:.0f} B"
    if abs(count) < KILO**2:
        return f"{count / KILO:.1f} kB"
    return f"{count / KILO**2:.2f} MB"


def percent(share: float) -> str:
    """A share of 1: ``97.1 %``."""
    return f"{100 * share:.1f} %"


def measured(line: CheckLine) -> str:
    """A check's value, with its unit and interval; why there is none, where it was not measured."""
    if line.value is None:
        return line.reason
    if line.unit == "bytes":
        return size(line.value)
    interval = f" ({line.interval[0]:.4g} to {line.interval[1]:.4g})" if line.interval else ""
    return f"{line.value:.4g}{line.unit and ' '}{line.unit}{interval}"


def limit(line: CheckLine) -> str:
    """A check's limit as it was written, with bytes in a unit that people read."""
    if line.unit == "bytes" and line.bound is not None:
        return f"{line.limit.partition(' ')[0]} {size(line.bound)}"
    return line.limit


def without_value(lines: Sequence[CheckLine]) -> str:
    """What is to be said of checks that passed although there was nothing to measure."""
    many = sum(line.verdict == "pass" and line.value is None for line in lines)
    return f" ({many} of them without a value: there was nothing to compare with)" if many else ""


def unbroken(text: str) -> str:
    """``text`` in which no number stands on another line than its unit."""
    return UNIT.sub("\\1\N{NO-BREAK SPACE}\\2", text)


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def counted(many: int, one: str, more: str = "") -> str:
    """``1 device``, ``8 devices``."""
    return f"{many} {one if many == 1 else more or one + 's'}"
