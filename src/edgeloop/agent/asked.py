"""What people ask of a device beside its agent: "not now", and to try again. One file, taken once.

Written by whoever asks, in this process or another, and there until the agent has done it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop import durable

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

FILE, TAKEN = "asked.json", "asked.taken.json"


class Asked(BaseModel):
    """``asked.json``; the newest wins."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    postpone: Annotated[float, Field(ge=0)] | None = None  # seconds; 0: now after all
    retry: bool = False  # forget what failed, and rest no longer


def put(folder: Path, asked: Asked) -> None:
    """Ask; the agent does it at its next look.

    Raises:
        DiskFullError: no room.
    """
    durable.write(folder / FILE, asked.model_dump_json().encode())


def take(folder: Path) -> Asked | None:
    """What was asked; None: nothing. It comes again after a power cut, until :func:`done`."""
    place = folder / TAKEN
    if not place.exists():
        if not (folder / FILE).exists():
            return None
        durable.settle(folder / FILE, place)
    try:
        return Asked.model_validate_json(place.read_bytes())
    except (OSError, ValidationError) as fault:
        logger.warning("asked.failed fault=%s", fault)
        return Asked()


def done(folder: Path) -> None:
    """What was taken is done."""
    (folder / TAKEN).unlink(missing_ok=True)
    durable.sync_folder(folder)
