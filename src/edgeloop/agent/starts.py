"""How often each variant was begun with and did not last: what a crash leaves behind.

A graph that ends the whole process when it is loaded or asked cannot be caught. So its start is
noted on the disk before, and the note removed when it has lasted.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop import durable
from edgeloop.errors import DiskFullError

logger = logging.getLogger(__name__)

MOST_BUNDLES = 3


class Begun(BaseModel):
    """What ``variants.json`` says: bundle -> variant -> starts that did not last."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = 1
    starts: dict[str, dict[str, int]] = Field(default_factory=dict)


class Starts:
    """The notes in ``path``. A file that is broken, or a full disk, only forgets."""

    def __init__(self, path: Path) -> None:
        self._path, self._now = path, _read(path)

    def of(self, bundle: str, variant: str) -> int:
        """How many of a variant's starts did not last, as far as is known."""
        return self._now.starts.get(bundle, {}).get(variant, 0)

    def begins(self, bundle: str, variant: str) -> None:
        """Before it is loaded: one more, until it has lasted."""
        self._write(bundle, variant, self.of(bundle, variant) + 1)

    def lasted(self, bundle: str, variant: str) -> None:
        """It did not end the process."""
        if self.of(bundle, variant):
            self._write(bundle, variant, 0)

    def _write(self, bundle: str, variant: str, count: int) -> None:
        of_bundle = {**self._now.starts.get(bundle, {}), variant: count}
        others = {name: told for name, told in self._now.starts.items() if name != bundle}
        kept = dict(list(others.items())[1 - MOST_BUNDLES :])
        told = {name: count for name, count in of_bundle.items() if count}
        self._now = Begun(starts={**kept, **({bundle: told} if told else {})})
        try:
            durable.write(self._path, self._now.model_dump_json().encode())
        except (DiskFullError, OSError) as fault:  # no reason to answer nothing
            logger.warning("starts.failed fault=%s", fault)


def _read(path: Path) -> Begun:
    if not path.is_file():
        return Begun()
    try:
        return Begun.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as fault:
        logger.warning("starts.broken fault=%s", type(fault).__name__)
        return Begun()
