"""A check's finding as a line of the report, with its limit as a number beside the words."""

from __future__ import annotations

import re

from edgeloop.loop.report.facts import CheckLine
from edgeloop.quantities import BYTES, SECONDS
from edgeloop.types import Finding

BOUND = re.compile(r"[^0-9-]*(-?[0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%]*)")


def check_line(finding: Finding) -> CheckLine:
    """A finding with its limit as a number beside the words."""
    return CheckLine(
        check=finding.check,
        verdict=str(finding.verdict),
        value=finding.value,
        unit=finding.unit,
        limit=finding.limit,
        bound=bound(finding.limit, finding.unit),
        interval=finding.interval,
        reason=finding.reason,
    )


def bound(limit: str, unit: str) -> float | None:
    """The number of a written limit in ``unit``: ``("<= 300 kB", "bytes")`` -> 300000.

    None when there is no number in it.
    """
    found = BOUND.match(limit)
    if found is None:
        return None
    value, written = float(found[1]), found[2]
    if written in BYTES and unit == "bytes":
        return value * BYTES[written]
    if written in SECONDS and unit in SECONDS:
        return value * SECONDS[written] / SECONDS[unit]
    return value / 100 if written == "%" else value
