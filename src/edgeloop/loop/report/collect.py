"""Gather the facts of a report from the store, the control plane's views and the blob log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.errors import DataError
from edgeloop.fleet.views import AuditLine, DeviceView, RolloutView, WindowView
from edgeloop.loop.file import LoopFile
from edgeloop.loop.report import drift, offline, sent, timeline
from edgeloop.loop.report.facts import Facts
from edgeloop.store.artifacts import Store
from edgeloop.types import Json
from edgeloop.watch.drift import DriftLimits

if TYPE_CHECKING:
    from edgeloop.fleet.client import FleetClient

logger = logging.getLogger(__name__)


def collect(
    loop: LoopFile,
    store: Store,
    *,
    devices: Sequence[DeviceView] = (),
    rollouts: Sequence[RolloutView] = (),
    audit: Iterable[AuditLine] = (),
    windows: Sequence[WindowView] = (),
    blob_log: Path | None = None,
    fresh_since: float | None = None,
) -> Facts:
    """Everything that a report shows. What is not given is left out of it.

    ``rollouts`` need no jobs, ``windows`` are in the order of ``seq``, ``blob_log`` is the blob
    server's JSON lines. ``fresh_since`` (Unix seconds by the devices' clocks) is since when devices
    see inputs of which none was sent home: only those then count for what a turn of the loop won.

    Raises:
        DataError: the blob log cannot be read.
    """
    watch, channel = loop.settings.watch, loop.settings.release.channel
    bundles = offline.bundles(store, loop.name, channel)
    versions = {bundle.digest: version for version, bundle in bundles.items()}
    limits = DriftLimits(psi=watch.drift.psi, features=watch.drift.features, answers=watch.window)
    lines = list(audit)
    ours = [one for one in rollouts if (one.name, one.channel) == (loop.name, channel)]
    fleet = timeline.Fleet.of(devices, ours, lines, versions, watch.label)
    seen = [one for one in windows if one.window.bundle in versions]
    began, ended = timeline.stretch(lines, seen)
    log, unread = read_blob_log(blob_log) if blob_log else ([], 0)
    facts = Facts(
        name=loop.name,
        channel=channel,
        limit=limits.psi,
        features=limits.features,
        measure=offline.measure(bundles),
        began=began,
        ended=ended,
        releases=tuple(offline.release(store, v, bundle) for v, bundle in bundles.items()),
        trainings=offline.trainings(store, bundles),
        lineage=offline.lineage(store, bundles),
        lanes=timeline.lanes(fleet, ended),
        rollouts=timeline.rollouts(fleet),
        triggers=timeline.triggers(fleet),
        answers=drift.answered(seen),
        drift=drift.points(seen, watch.label, store, limits),
        quality=drift.quality(seen, watch.label, began, ended),
        turns=drift.turns(timeline.triggers(fleet), seen, watch.label, limits.answers, fresh_since),
        sent=sent.totals(
            log, fleet, offline.blobs(store, bundles), offline.shortcuts(store, bundles)
        ),
        unread=unread,
    )
    logger.info("collect.done releases=%d lanes=%d", len(facts.releases), len(facts.lanes))
    return facts


def windows_of(fleet: FleetClient) -> list[WindowView]:
    """Every window that the control plane has, page by page."""
    found: list[WindowView] = []
    while page := fleet.windows(since=found[-1].seq if found else 0):
        found += page
    return found


def read_blob_log(path: Path) -> tuple[list[Json], int]:
    """The lines of a blob log, and how many were broken: a kill may cut one off.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        raise DataError(f"blob log {path}", "must be readable", got=fault.strerror) from fault
    read: list[Json] = []
    broken = 0
    for line in text.splitlines():
        try:
            read.append(json.loads(line))
        except ValueError:
            broken += 1
    return read, broken
