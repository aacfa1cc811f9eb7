"""How devices look on a terminal: a line each, by labels and name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.cli.output import ago

if TYPE_CHECKING:
    from edgeloop.fleet.views import DeviceView

COLUMNS = (
    *("name", "labels", "model", "state", "waits_for", "release", "also", "answers", "hold"),
    *("pin", "last_seen"),
)


def row(device: DeviceView, now: float | None) -> dict[str, object]:
    """One line; ``now`` is the server's time, in Unix seconds."""
    gone = "revoked" if device.revoked else None
    gone = "decommissioned" if device.decommissioned else gone
    return {
        "name": device.name,
        "labels": labels(device),
        "model": device.model or "not known",
        "state": gone or device.state or "silent",
        "waits_for": (device.report and device.report.waiting) or None,
        "release": _running(device),
        "also": _also(device),
        "answers": device.report.answers_since_switch if device.report else 0,
        "hold": "on hold" if device.hold else None,
        "pin": device.pinned.version if device.pinned else None,
        "last_seen": None if now is None else ago(now - device.last_seen),
    }


def _running(device: DeviceView) -> str | None:
    """The release that answers; and which of its graphs, where it is not the main one."""
    report = device.report
    if report is None or report.running is None:
        return None
    running = report.running
    told = f"{running.channel}/{running.name} {running.version}"
    return told if report.variant == "main" else f"{told} {report.variant}"


def _also(device: DeviceView) -> str | None:
    """What it follows beside its model, each with the version that runs."""
    also = device.report.also if device.report else ()
    told = (f"{one.name} {one.running.version if one.running else one.state}" for one in also)
    return ", ".join(told) or None


def whole(device: DeviceView, now: float | None) -> dict[str, object]:
    """A device whole, with what people ask for first at the top."""
    running = device.report.running if device.report else None
    return {
        **device.model_dump(mode="json"),
        "version": running.version if running else None,
        "answers": device.report.answers_since_switch if device.report else 0,
        "seen_seconds_ago": None if now is None else max(now - device.last_seen, 0.0),
    }


def in_order(devices: list[DeviceView]) -> list[DeviceView]:
    """By labels and name, decommissioned ones last."""
    return sorted(devices, key=lambda d: (d.decommissioned, labels(d), d.name))


def labels(device: DeviceView) -> str:
    """As a selector would ask for all of them."""
    return ",".join(f"{name}={value}" for name, value in sorted(device.labels.items()))
