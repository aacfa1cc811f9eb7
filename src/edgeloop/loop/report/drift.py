"""How the field went, per group of devices: drift of the inputs, and quality of the answers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from edgeloop.fleet.views import WindowView
from edgeloop.loop.report.facts import Answers, DriftPoint, QualityPoint, Trigger, Turn
from edgeloop.release.bundle import open_kept
from edgeloop.sketches.profile import Profile
from edgeloop.store.artifacts import Store
from edgeloop.watch.drift import DriftLimits, assess

MOST_POINTS = 60  # per group and release: more cannot be told apart in a picture
STRETCHES = 36  # of the whole time; confirmed answers are counted per stretch

Streams = dict[tuple[str, str], list[WindowView]]  # (group, bundle) -> windows, oldest first


def points(
    windows: Sequence[WindowView], label: str, store: Store, limits: DriftLimits
) -> tuple[DriftPoint, ...]:
    """The drift that the trigger could see behind each window, as ``watch.drift`` tells it."""
    found: list[DriftPoint] = []
    for (group, bundle), stream in sorted(_streams(windows, label).items()):
        references = open_kept(store, bundle).references()
        every = max(1, -(-len(stream) // MOST_POINTS))
        behind = sorted({*range(every - 1, len(stream), every), len(stream) - 1})
        told = (_point(group, stream[: last + 1], references, limits) for last in behind)
        found += [point for point in told if point is not None]
    return tuple(sorted(found, key=lambda point: (point.time, point.group)))


def _streams(windows: Sequence[WindowView], label: str) -> Streams:
    streams: Streams = defaultdict(list)
    for one in windows:
        if label in one.labels:
            streams[one.labels[label], one.window.bundle].append(one)
    return streams


def _point(
    group: str,
    stream: Sequence[WindowView],
    references: Mapping[str, Profile],
    limits: DriftLimits,
) -> DriftPoint | None:
    last = stream[-1]
    seen = [one.window for one in stream]
    drift = assess(group, last.window.bundle, seen, references, limits)
    if drift.answers < limits.answers or not drift.psi:
        return None
    return DriftPoint(
        time=last.received,
        group=group,
        version=last.window.version,
        answers=drift.answers,
        profile=drift.profile,
        psi=drift.psi,
        drifted=drift.drifted,
    )


def quality(
    windows: Sequence[WindowView], label: str, began: float, ended: float
) -> tuple[QualityPoint, ...]:
    """Confirmed answers by group and release, summed over equal stretches of time."""
    width = max((ended - began) / STRETCHES, 1e-9)
    sums: dict[tuple[int, str, int], list[WindowView]] = defaultdict(list)
    for one in windows:
        if label in one.labels and one.window.confirmed:
            stretch = min(int((one.received - began) / width), STRETCHES - 1)
            sums[stretch, one.labels[label], one.window.version].append(one)
    return tuple(
        QualityPoint(
            time=began + (stretch + 0.5) * width,
            group=group,
            version=version,
            confirmed=confirmed(some),
            quality=sum(one.window.quality for one in some),
        )
        for (stretch, group, version), some in sorted(sums.items())
    )


def confirmed(windows: Iterable[WindowView]) -> int:
    """Answers that people confirmed or corrected."""
    return sum(one.window.confirmed for one in windows)


def answered(windows: Iterable[WindowView]) -> Answers:
    """All answers that the windows tell of."""
    seen = [one.window for one in windows]
    return Answers(
        given=sum(one.answers for one in seen),
        failed=sum(one.errors for one in seen),
        unlogged=sum(one.unlogged for one in seen),
    )


def turns(
    triggers: Sequence[Trigger],
    windows: Sequence[WindowView],
    label: str,
    answers: int,
    fresh_since: float | None = None,
) -> tuple[Turn, ...]:
    """Quality before and after each trigger that led to a release; none where none was confirmed.

    Before: the newest windows in front of the trigger that hold ``answers`` answers, as it judged
    them, and all later ones by the same release. After: all windows by the release that came of it,
    or those that began at ``fresh_since`` or later.
    """
    since = -math.inf if fresh_since is None else fresh_since
    found = []
    for fired in (one for one in triggers if one.action == "fired"):
        led_to = _led_to(fired, triggers)
        ours = [one for one in windows if one.labels.get(label) == fired.group]
        old = _since(fired, [w for w in ours if w.window.version == fired.version], answers)
        new = [w for w in ours if w.window.version == led_to and w.window.began >= since]
        if led_to and fired.version and confirmed(old) and confirmed(new):
            turn = _turn(fired.group, (fired.version, led_to), old, new)
            found.append(replace(turn, fresh=fresh_since is not None))
    return tuple(found)


def _led_to(fired: Trigger, triggers: Sequence[Trigger]) -> int | None:
    about = (fired.group, fired.version)
    led = (t.led_to for t in triggers if t.led_to and (t.group, t.version) == about)
    return next(led, None)


def _since(fired: Trigger, windows: Sequence[WindowView], answers: int) -> list[WindowView]:
    taken = [one for one in windows if one.received > fired.time]
    judged = 0
    for one in reversed([one for one in windows if one.received <= fired.time]):
        if judged >= answers:
            break
        judged += one.window.answers
        taken.append(one)
    return taken


def _turn(
    group: str, versions: tuple[int, int], old: list[WindowView], new: list[WindowView]
) -> Turn:
    return Turn(
        group=group,
        before=versions[0],
        after=versions[1],
        confirmed=(confirmed(old), confirmed(new)),
        quality=(_mean(old), _mean(new)),
    )


def _mean(windows: Sequence[WindowView]) -> float:
    return sum(one.window.quality for one in windows) / confirmed(windows)
