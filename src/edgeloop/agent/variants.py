"""Which variant of a bundle a device should use: pure rules, without a clock or a file.

A variant whose conditions end to hold is left at once. One that would be preferred is gone back to
when its conditions have held for ``HOLD`` seconds without a break, so that a battery at its limit
does not make a device go to and fro. There is always one to use: where no conditions hold, the
least demanding that can be loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeloop.agent.readings import Readings
    from edgeloop.release.bundle import Variant

HOLD = 120.0  # seconds
REST = 600.0  # seconds for which one that failed is left alone; each further time twice as long
LONGEST_REST = 86_400.0
FAR = 2.0  # times the limit of its latency: so slow is too slow, for half of the newest answers
FEWEST_ANSWERS = 40  # fewer say nothing of that
WAITS = f"its conditions hold since less than {HOLD:g} s"


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a device can load: runtimes and program steps, and what graphs may run on."""

    runtimes: frozenset[str]
    accelerators: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a variant is left alone, and until when in monotonic seconds."""

    reason: str
    times: int = 1
    until: float = math.inf

    @staticmethod
    def after(before: Fault | None, reason: str, now: float) -> Fault:
        """The next of one variant: each rest is twice as long as the one before."""
        times = 1 if before is None else before.times + 1
        rest = min(REST * 2 ** min(times - 1, 16), LONGEST_REST)
        return Fault(reason=reason, times=times, until=now + rest)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of a bundle's variants at one moment.

    ``met`` says since when, in monotonic seconds, the conditions of each have held without a break;
    ``unmet`` of the others why they do not.
    """

    now: float
    met: Mapping[str, float]
    unmet: Mapping[str, str]
    faults: Mapping[str, Fault] = field(default_factory=dict)

    def hinders(self, name: str, current: str) -> str:
        """Why a variant is not wanted now; "" when nothing speaks against it."""
        fault = self.faults.get(name)
        if fault is not None and self.now < fault.until:
            return fault.reason
        if name in self.unmet:
            return self.unmet[name]
        steady = name == current or self.now - self.met[name] >= HOLD
        return "" if steady else WAITS


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The variants that can be loaded, best first; and what speaks against each of the others."""

    names: tuple[str, ...]
    reasons: Mapping[str, str]


def impossible(variant: Variant, can: Abilities) -> str:
    """Why this device can never load a variant; "" when it can."""
    lacks = [need for need in variant.needs if need not in can.runtimes]
    if lacks:
        return f"needs {', '.join(lacks)}, this device has {_listed(can.runtimes)}"
    wanted = variant.when.accelerator
    if wanted and wanted not in can.accelerators:
        return f"needs accelerator {wanted}, this device has {_listed(can.accelerators)}"
    return ""


def unmet(variant: Variant, readings: Readings, own_mb: float = 0) -> str:
    """The first condition of a variant that does not hold, with what was read; "" when all do.

    ``own_mb`` is what it takes itself where it is loaded already. What is not known: memory does
    not suffice; it is not too warm; and who knows of no battery has none.
    """
    return next(_unmet(variant, readings, own_mb), "")


def _unmet(variant: Variant, readings: Readings, own_mb: float) -> Iterator[str]:
    when, free = variant.when, readings.free_memory_mb
    if when.free_memory_mb is not None:
        if free is None:
            yield f"free memory is not known, needs {when.free_memory_mb:g} MB"
        elif free + own_mb < when.free_memory_mb:
            yield f"free memory {free + own_mb:.0f} MB, needs {when.free_memory_mb:g} MB"
    least, most = when.battery_percent, when.temperature_c
    percent = None if readings.charging else readings.battery_percent
    if least is not None and percent is not None and percent < least:
        yield f"battery {percent:.0f} %, needs {least:g} %"
    warm = readings.temperature_c
    if most is not None and warm is not None and warm > most:
        yield f"temperature {warm:.0f} C, at most {most:g} C"


def seen(
    variants: Sequence[Variant],
    readings: Readings,
    *,
    now: float,
    before: Seen | None,
    faults: Mapping[str, Fault],
    own_mb: Mapping[str, float],
) -> Seen:
    """The next moment; what holds at the first one counts as if it always had."""
    unmets = {one.name: unmet(one, readings, own_mb.get(one.name, 0)) for one in variants}
    since = {name: -math.inf if before is None else before.met.get(name, now) for name in unmets}
    return Seen(
        now=now,
        met={name: since[name] for name, reason in unmets.items() if not reason},
        unmet={name: reason for name, reason in unmets.items() if reason},
        faults=faults,
    )


def rank(variants: Sequence[Variant], can: Abilities, at: Seen, current: str = "") -> Ranked:
    """The variants that this device can load, in the order in which they should be tried.

    First those that nothing speaks against, as preferred. Then the others, the least demanding
    first; those that failed last of all. ``current`` is the one that is used now.
    """
    barred = {one.name: reason for one in variants if (reason := impossible(one, can))}
    possible = [one.name for one in variants if one.name not in barred]
    hindered = {name: reason for name in possible if (reason := at.hinders(name, current))}
    wanted = [name for name in possible if name not in hindered]
    rest = list(reversed(hindered))
    rest.sort(key=lambda name: _failed(at, name))
    return Ranked(names=(*wanted, *rest), reasons={**barred, **hindered})


def _failed(at: Seen, name: str) -> bool:
    fault = at.faults.get(name)
    return fault is not None and at.now < fault.until


def too_slow(limit_ms: float | None, newest_ms: Sequence[float]) -> str:
    """Why a variant is too slow in use; "" while it is not, or nothing can be said."""
    if limit_ms is None or len(newest_ms) < FEWEST_ANSWERS:
        return ""
    middle = sorted(newest_ms)[len(newest_ms) // 2]
    if middle <= FAR * limit_ms:
        return ""
    return f"half of {len(newest_ms)} answers took {middle:.1f} ms or more, limit {limit_ms:g} ms"


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
