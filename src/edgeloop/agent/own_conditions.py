"""A device's own conditions, ``conditions.json``: what its owner asks beside what a release asks.

In a file of their own, so that they are read anew while the agent runs, and so that an older agent,
put back in charge, is not stopped by settings that it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from edgeloop import durable
from edgeloop.errors import AgentFolderError
from edgeloop.protocol.messages import Asks

if TYPE_CHECKING:
    from pathlib import Path

FILE = "conditions.json"


def _zone(name: str) -> str:
    if name:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as fault:
            raise ValueError("must be a time zone that this system has") from fault
    return name


class Own(Asks):
    """``conditions.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bandwidth: Annotated[int, Field(ge=1024)] | None = None  # bytes/s for files
    time_zone: Annotated[str, AfterValidator(_zone)] = ""  # "Europe/Rome"; "" is the system's

    @property
    def zone(self) -> ZoneInfo | None:
        """None: the system's."""
        return ZoneInfo(self.time_zone) if self.time_zone else None


def read(folder: Path) -> Own:
    """A device's own conditions; none where there is no file.

    Raises:
        AgentFolderError: the file is broken.
    """
    path = folder / FILE
    try:
        return Own.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Own()
    except OSError as fault:
        raise AgentFolderError(f"file {FILE}", "must be readable", got=fault.strerror) from fault
    except ValidationError as fault:
        raise AgentFolderError(f"file {FILE}", "must hold conditions", got=_first(fault)) from fault


def change(folder: Path, changes: dict[str, object]) -> Own:
    """Write what is changed, and keep the rest; None takes one away.

    Raises:
        AgentFolderError: the file is broken, or these would break it; it is as it was.
    """
    before = read(folder).model_dump(exclude_unset=True)
    said = {name: value for name, value in (before | changes).items() if value is not None}
    try:
        own = Own.model_validate(said)
    except ValidationError as fault:
        raise AgentFolderError("conditions", "must be possible", got=_first(fault)) from fault
    text = own.model_dump_json(exclude_unset=True, indent=2)
    durable.write(folder / FILE, text.encode())
    return own


def _first(fault: ValidationError) -> str:
    first = fault.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"{where}: {first['msg']}"
