"""The closed list of program steps: what one is, and which there are."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.types import Array, Arrays, TensorSpec

OWN = ("graph", "generate")  # the steps that a runtime does itself, and with which programs end
ROOM = "edgeloop.runtimes.program"

T = TypeVar("T", bound=type)
_steps: dict[str, type] = {}


class Running(Protocol):
    """An opened step."""

    def run(self, feed: Arrays) -> dict[str, Array]: ...
    def fresh(self) -> Running: ...


class Step(Protocol):
    """One declared step: parameters in the fields, like a plugin.

    ``libraries`` (class variable) names the distributions that a device must have for it;
    ``memory`` (0 where it is not there) is how many rows before a row its outcome depends on; a
    step that has one has ``breaks(rows)`` as well: the places (first axis) of rows that do not
    follow the row before them.
    """

    def gives(self, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]: ...
    def open(self, files: Mapping[str, Path]) -> Running: ...


def step(name: str) -> Callable[[T], T]:
    """Put a class on the list under ``name``."""

    def keep(cls: T) -> T:
        _steps[name] = cls
        return cls

    return keep


def known() -> dict[str, type[Any]]:
    """Every step of this version by name."""
    room = importlib.import_module(ROOM)
    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{ROOM}.{module.name}")
    return dict(_steps)
