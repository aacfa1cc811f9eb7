"""What a new slot must prove on this device before it is tried: rules, and the measuring for them.

A limit that this device is too busy to measure is ``not measured``, which does not stop a slot: the
gates of the loop measured it before, and the probation looks again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.agent.device import Device
    from edgeloop.agent.loaded import Loaded
    from edgeloop.types import Array

RUNS = 60  # timed answers of each slot
FEWEST_RUNS, LONG_MS = 20, 10_000.0  # fewer are enough where they took so long
WARM_UP = 5
LARGEST_SPREAD = 3.0  # p95 over median; beyond it the device was busy
NOTABLY_SLOWER = 1.5  # times the current slot's p95; below it the device is to blame, not the slot

Timer = Callable[[], float]  # seconds, monotonic, fine-grained


def fits(
    targets: Sequence[str],
    needs: Sequence[str],
    device: Device,
    alternatives: Sequence[Sequence[str]] = (),
) -> list[Finding]:
    """Whether a release is for this class of devices, and this device has what it needs.

    Where its variants need different things, ``alternatives`` are these: all of one will do.
    """
    ways = alternatives or (needs,)
    wanted = ", ".join(targets) or "any"
    either = " or ".join(", ".join(way) for way in ways)
    lacking = [[need for need in way if need not in device.runtimes] for way in ways]
    lacks = " or ".join(", ".join(lack) for lack in lacking) if all(lacking) else ""
    known = ", ".join(device.runtimes) or "none"
    return [
        _fit("target", wanted, f"this device is {device.target}, the release is for {wanted}")
        if targets and device.target not in targets
        else _fit("target", wanted),
        _fit("runtime", either, f"needs {lacks}, this device has {known}")
        if lacks
        else _fit("runtime", either),
    ]


def _fit(check: str, wanted: str, reason: str = "") -> Finding:
    verdict = Verdict.FAIL if reason else Verdict.PASS
    return Finding(check=check, verdict=verdict, limit=wanted, reason=reason)


def parity(candidate: Loaded, device: Device) -> Finding:
    """Whether the golden samples are answered here as they were where the bundle was made."""
    golden = candidate.bundle.info.golden
    tolerance = golden.tolerance.get(device.execution, golden.tolerance.get("any"))
    if tolerance is None:
        reason = f"no tolerance is stated for {device.execution} or any"
        return Finding(check="golden_parity", verdict=Verdict.FAIL, reason=reason)
    inputs, wanted = candidate.bundle.golden_samples()
    within = candidate.kind.parity(candidate.fresh().run(inputs), wanted, tolerance)
    share = float(within.mean())
    fits = share >= golden.share
    limit = f">= {golden.share:g} within {tolerance:g}"
    return Finding(
        check="golden_parity",
        verdict=Verdict.PASS if fits else Verdict.FAIL,
        value=share,
        limit=limit,
        reason=""
        if fits
        else f"{share:.3f} of {golden.rows} golden samples, limit {limit} on {device.execution}",
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0..1) of ``values`` do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def latency(
    limit_ms: float | None, candidate_ms: Sequence[float], current_ms: Sequence[float]
) -> Finding:
    """The 95th percentile against its limit, with the current slot as witness of the device's load.

    Beyond the limit is a fail only where the device is not to blame: it is when the candidate's own
    times are spread wide, or when the current slot, timed in between, is nearly as slow.
    """
    p95, middle = percentile(candidate_ms, 0.95), percentile(candidate_ms, 0.5)
    beside = percentile(current_ms, 0.95) if current_ms else None
    evidence = {"median_ms": round(middle, 3), "current_p95_ms": beside and round(beside, 3)}
    verdict, reason = Verdict.PASS, ""
    if limit_ms is not None and p95 > limit_ms:
        verdict, reason = Verdict.FAIL, f"p95 {p95:.2f} ms is above the limit {limit_ms:g} ms"
        if p95 > LARGEST_SPREAD * middle:
            verdict = Verdict.NOT_MEASURED
            reason = f"the device is busy: p95 {p95:.2f} ms, median {middle:.2f} ms"
        elif beside is not None and p95 <= NOTABLY_SLOWER * beside:
            verdict = Verdict.NOT_MEASURED
            reason = f"the device is busy: the current slot has p95 {beside:.2f} ms"
    return Finding(
        check="latency_p95",
        verdict=verdict,
        value=None if verdict is Verdict.NOT_MEASURED else round(p95, 3),
        unit="ms",
        limit=f"<= {limit_ms:g} ms" if limit_ms is not None else "",
        reason=reason,
        evidence=evidence,
    )


def memory(limit_mb: float | None, grown_mb: Sequence[float]) -> Finding:
    """The least growth of the process over the times that the slot was loaded.

    The first load may bring the runtime's library with it, another thread may have grown too.
    """
    if not grown_mb:
        reason = "this system does not tell a process its size"
        return Finding(check="memory", verdict=Verdict.NOT_MEASURED, unit="MB", reason=reason)
    least = max(0.0, min(grown_mb))
    fits = limit_mb is None or least <= limit_mb
    return Finding(
        check="memory",
        verdict=Verdict.PASS if fits else Verdict.FAIL,
        value=round(least, 1),
        unit="MB",
        limit=f"<= {limit_mb:g} MB" if limit_mb is not None else "",
        reason="" if fits else f"{least:.1f} MB is above the limit {limit_mb:g} MB",
    )


def time_beside(
    candidate: Loaded, current: Loaded | None, timer: Timer
) -> tuple[list[float], list[float]]:
    """Milliseconds of single answers, candidate and current in turns (A B A B ...).

    A slow model is not timed for minutes: while it is, the device answers slowly too.
    """
    inputs, _ = candidate.bundle.golden_samples()
    rows = len(next(iter(inputs.values())))
    slots = [candidate] if current is None or current.inputs != candidate.inputs else []
    slots = slots or [candidate, current]  # type: ignore[list-item]  # current is not None here
    times: list[list[float]] = [[] for _ in slots]
    for run in range(WARM_UP + RUNS):
        place = run % rows
        if place == 0:  # rows may have an order, and the slot in charge remembers its own rows
            slots = [slot.fresh() for slot in slots]
        row = {name: values[place : place + 1] for name, values in inputs.items()}
        for slot, spent in zip(slots, times, strict=True):
            spent.append(_timed(slot, row, timer))
        if run + 1 >= WARM_UP + FEWEST_RUNS and sum(map(sum, times)) > LONG_MS:
            break
    return times[0][WARM_UP:], times[1][WARM_UP:] if len(times) > 1 else []


def _timed(slot: Loaded, row: dict[str, Array], timer: Timer) -> float:
    began = timer()
    slot.run(row)
    return (timer() - began) * 1000


def load_measured(
    load: Callable[[], Loaded], limit_mb: float | None
) -> tuple[Loaded, tuple[float, ...]]:
    """A slot that has answered its golden samples once, and by how many MB the process grew.

    A second one is loaded when the first is beyond the limit, see :func:`memory`.
    """
    first, grown = _grown(load)
    if grown is None:
        return first, ()
    if limit_mb is None or grown <= limit_mb:
        return first, (grown,)
    _, again = _grown(load)
    return first, (grown, grown if again is None else again)


def _grown(load: Callable[[], Loaded]) -> tuple[Loaded, float | None]:
    before = resident_mb()
    slot = load()
    slot.fresh().run(slot.bundle.golden_samples()[0])
    after = resident_mb()
    return slot, None if before is None or after is None else after - before


def resident_mb() -> float | None:
    """The process's resident memory; None where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    pages = int(statm.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(
    candidate: Loaded,
    current: Loaded | None,
    device: Device,
    grown_mb: Sequence[float],
    timer: Timer,
) -> tuple[Finding, ...]:
    """Golden samples, then latency and memory, of a slot that fits."""
    limits = candidate.bundle.info.limits
    found = [parity(candidate, device)]
    if found[0].verdict is Verdict.PASS:
        times = time_beside(candidate, current, timer)
        found += [latency(limits.latency_ms, *times), memory(limits.memory_mb, grown_mb)]
    return tuple(found)
