"""Stages of a rollout plan: how many of a group's devices one holds."""

from __future__ import annotations

import math
import re

from edgeloop.errors import ProtocolError

_SHARE = re.compile(r"(\d{1,3}(?:\.\d+)?) ?%")


def stage_size(stage: int | str, members: int) -> int:
    """How many of a group's ``members`` a stage holds: a count, or a share rounded up.

    Raises:
        ProtocolError: it is neither a count nor a percentage up to 100.
    """
    if isinstance(stage, int) and stage >= 0:
        return min(stage, members)
    share = _SHARE.fullmatch(str(stage))
    if share is None or float(share[1]) > 100:
        raise ProtocolError(
            "stage of a rollout plan", "must be a count or a share up to 100%", got=repr(stage)
        )
    return math.ceil(members * float(share[1]) / 100)
