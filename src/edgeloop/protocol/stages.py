"""Stages of a rollout plan: how many of a group's devices one holds, and in what order."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

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


def out_of_order(stages: Sequence[int | str]) -> str:
    """Which stage is not above those before it, as a rule that is broken; empty when each is.

    Counts are compared with counts and shares with shares; whether a count is above a share is for
    the number of devices to say. Nothing is above 100%.
    """
    before: dict[bool, int | str] = {False: 0, True: "0%"}
    for stage in stages:
        is_share = isinstance(stage, str)
        if _amount(before[True]) >= 100:
            return f"stage {stage} must not follow {before[True]}, which is everybody"
        if _amount(stage) <= _amount(before[is_share]):
            return f"stage {stage} must be above {before[is_share]}"
        before[is_share] = stage
    return ""


def _amount(stage: int | str) -> float:
    return float(stage.rstrip(" %")) if isinstance(stage, str) else stage
