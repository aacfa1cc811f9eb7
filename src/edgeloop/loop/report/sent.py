"""What each device fetched for each release, from the blob server's log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from edgeloop.fleet.events import Event
from edgeloop.loop.report.facts import Sent
from edgeloop.loop.report.timeline import Fleet
from edgeloop.release.deltas import Kept
from edgeloop.types import Json

UNSIGNED = "unsigned requests"  # bytes may be fetched by anybody
Key = tuple[str, int | None]  # device, version


def totals(
    log: Sequence[Json],
    fleet: Fleet,
    files: Mapping[int, Mapping[str, int]],
    deltas: Mapping[int, Mapping[str, Kept]],
) -> tuple[Sent, ...]:
    """Per device and release, and per device what belongs to no release (signed metadata).

    ``files`` of each release and ``deltas`` that lead to it are known by their digests.

    A blob that several releases have counts for the one that the device was offered last, at the
    time; where that one has it not, for the oldest that has.
    """
    names = {device.id: device.name for device in fleet.devices}
    blobs = {version: {*has, *deltas.get(version, ())} for version, has in files.items()}
    offers = _offers(fleet)
    lines: dict[Key, list[Json]] = defaultdict(list)
    for line in log:
        device = line.get("device") or ""
        offered = _at(offers.get(device, []), float(line["time"]))
        lines[device, _release_of(line.get("digest"), offered, blobs)].append(line)
    offered_ever = {(device, version) for device, told in offers.items() for _, version in told}
    fetched = {key: _fetched(some) for key, some in lines.items()}
    keys = sorted({*lines, *offered_ever}, key=lambda key: (names.get(key[0], "~"), key[1] or 0))
    return tuple(
        Sent(
            device=names.get(device, device[:12] or UNSIGNED),
            version=version,
            bytes=sum(int(line["bytes"]) for line in lines.get((device, version), ())),
            fetched=len(fetched.get((device, version), ())),
            had=_had(device, version, fetched, blobs),
            own=_own(version, fetched.get((device, version), set()), blobs),
            saved=_saved(fetched.get((device, version), set()), deltas.get(version or 0, {})),
        )
        for device, version in keys
    )


def _fetched(lines: Iterable[Json]) -> set[str]:
    return {line["digest"] for line in lines if line.get("digest") and line["bytes"]}


def _had(
    device: str,
    version: int | None,
    fetched: Mapping[Key, set[str]],
    blobs: Mapping[int, Collection[str]],
) -> int:
    """Blobs of a release that the device has from another one and did not fetch again."""
    here = set(blobs.get(version, ())) if version is not None else set()
    others = [got for (who, other), got in fetched.items() if who == device and other != version]
    return len((here & set().union(*others)) - fetched.get((device, version), set()))


def _saved(fetched: set[str], deltas: Mapping[str, Kept]) -> int:
    return sum(deltas[one].makes - deltas[one].size for one in fetched if one in deltas)


def _own(version: int | None, fetched: set[str], blobs: Mapping[int, Collection[str]]) -> int:
    if version is None:
        return 0
    elsewhere = {digest for other, has in blobs.items() if other != version for digest in has}
    return len(fetched - elsewhere)


def _offers(fleet: Fleet) -> dict[str, list[tuple[float, int]]]:
    """Device -> when it was offered which version, oldest first."""
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for line in fleet.lines:
        version = fleet.version_of(line)
        if line.action == Event.JOB_OFFERED and version is not None:
            found[line.subject.removeprefix("device:")].append((line.time, version))
    return found


def _at(offers: Iterable[tuple[float, int]], time: float) -> int | None:
    before = [version for when, version in offers if when <= time]
    return before[-1] if before else None


def _release_of(
    digest: str | None, offered: int | None, blobs: Mapping[int, Collection[str]]
) -> int | None:
    having = [version for version, has in sorted(blobs.items()) if digest in has]
    if offered in having:
        return offered
    return having[0] if having else None
