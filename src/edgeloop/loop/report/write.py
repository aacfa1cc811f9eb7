"""Write a loop's report into a file, with what a control plane says where one is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop.loop.file import LoopFile
from edgeloop.loop.report.collect import collect, windows_of
from edgeloop.loop.report.facts import Facts
from edgeloop.loop.report.page import render
from edgeloop.store.artifacts import Store

if TYPE_CHECKING:
    from edgeloop.fleet.client import FleetClient


def write_report(
    loop: LoopFile,
    store: Store,
    path: Path,
    *,
    fleet: FleetClient | None = None,
    blob_log: Path | None = None,
) -> Facts:
    """One self-contained HTML file at ``path``; gives what it shows.

    Without ``fleet`` the store alone is told. ``blob_log`` is the blob server's (``blobs.jsonl`` in
    a control plane's folder); without it the bytes sent are left out.

    Raises:
        MissingExtraError: Jinja2 or Matplotlib is not installed.
        DataError: the blob log cannot be read.
        FleetError: the control plane cannot be asked.
    """
    facts = collect(loop, store, blob_log=blob_log, **_asked(fleet))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(facts), encoding="utf-8")
    return facts


def _asked(fleet: FleetClient | None) -> Mapping[str, Any]:
    """What the control plane says; nothing without one."""
    if fleet is None:
        return {}
    return {
        "devices": fleet.devices(),
        "rollouts": fleet.rollouts(),
        "audit": fleet.audit(),
        "windows": windows_of(fleet),
    }
