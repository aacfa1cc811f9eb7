"""What the settings of every handler have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Command = tuple[Annotated[str, Field(min_length=1)], ...]  # program, arguments; "()" is none
Seconds = Annotated[float, Field(gt=0)]


class HandlerSettings(BaseModel):
    """Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: Seconds = 600  # of one command
    check_seconds: Seconds = 5  # between two checks
    within_seconds: Seconds = 300  # until the checks of a new payload must have succeeded

    @property
    def needs_before(self) -> bool:
        """A handler that keeps what was there before elsewhere says otherwise."""
        return True
