"""edgeloop: one loop from data to a fleet of edge devices, and back."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeloop.agent.agent import Agent as Agent
    from edgeloop.clock import SystemClock as SystemClock
    from edgeloop.errors import EdgeloopError as EdgeloopError
    from edgeloop.fleet.client import FleetClient as FleetClient
    from edgeloop.loop.close import Watcher as Watcher
    from edgeloop.loop.file import LoopFile as LoopFile
    from edgeloop.loop.file import load_loop as load_loop
    from edgeloop.loop.report import write_report as write_report
    from edgeloop.loop.runner import run_loop as run_loop
    from edgeloop.plugins import Context as Context
    from edgeloop.plugins import register as register
    from edgeloop.release.repository import Repository as Repository
    from edgeloop.store.artifacts import Store as Store
    from edgeloop.types import Artifact as Artifact
    from edgeloop.types import Finding as Finding
    from edgeloop.types import Model as Model
    from edgeloop.types import Snapshot as Snapshot
    from edgeloop.types import Verdict as Verdict

__version__ = "0.1.0"

EXPORTS = {  # public name -> its module, loaded when first used, so that importing costs little
    "Agent": "edgeloop.agent.agent",
    "Artifact": "edgeloop.types",
    "Context": "edgeloop.plugins",
    "EdgeloopError": "edgeloop.errors",
    "Finding": "edgeloop.types",
    "FleetClient": "edgeloop.fleet.client",
    "LoopFile": "edgeloop.loop.file",
    "Model": "edgeloop.types",
    "Repository": "edgeloop.release.repository",
    "Snapshot": "edgeloop.types",
    "Store": "edgeloop.store.artifacts",
    "SystemClock": "edgeloop.clock",
    "Verdict": "edgeloop.types",
    "Watcher": "edgeloop.loop.close",
    "load_loop": "edgeloop.loop.file",
    "register": "edgeloop.plugins",
    "run_loop": "edgeloop.loop.runner",
    "write_report": "edgeloop.loop.report",
}

__all__ = ["__version__", *EXPORTS]


def __getattr__(name: str) -> object:
    if name not in EXPORTS:
        raise AttributeError(f"module 'edgeloop' has no attribute {name!r}")
    return getattr(importlib.import_module(EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
