"""The loop's own steps: rows from the field joined to the old ones, and the record of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from edgeloop.data.merge import merge
from edgeloop.plugins import Context
from edgeloop.types import Json, Snapshot


@dataclass(frozen=True, kw_only=True)
class MergeField:
    """Add rows that came home from the field as the population ``profile``."""

    profile: str
    split: Any  # the loop's own way to divide rows

    plugin_name: ClassVar[str] = "merge.v1"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def run(self, old: Snapshot, fresh: Snapshot, context: Context) -> Snapshot:
        """``old`` (split) with the rows of ``fresh`` (unsplit) behind it."""
        rows = (fresh.feed(), fresh.column(fresh.target))
        return merge(old, rows, self.profile, context.scratch, split=self.split)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Which artifact each step of a run gave; its parents are those artifacts."""

    loop: str
    steps: Mapping[str, str]

    plugin_name: ClassVar[str] = "run.v1"
    kind: ClassVar[str] = "run"

    @property
    def files(self) -> Mapping[str, Path]:
        """A record is all JSON."""
        return {}

    def to_meta(self) -> Json:
        """Loop name and step -> digest."""
        return {"loop": self.loop, "steps": dict(self.steps)}
