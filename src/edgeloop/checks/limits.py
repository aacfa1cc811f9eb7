"""Hold a measured value against a limit. Pure."""

from __future__ import annotations

from edgeloop.types import Finding, Verdict


def at_least(value: float, limit: float | None) -> tuple[Verdict, str]:
    """Verdict, and the limit as a person writes it; without a limit everything passes."""
    if limit is None:
        return Verdict.PASS, ""
    return (Verdict.PASS if value >= limit else Verdict.FAIL), f">= {limit:g}"


def at_most(value: float, limit: float | None, unit: str = "") -> tuple[Verdict, str]:
    """Verdict, and the limit as a person writes it; without a limit everything passes."""
    if limit is None:
        return Verdict.PASS, ""
    said = f"<= {limit:.12g} {unit}".rstrip()
    return (Verdict.PASS if value <= limit else Verdict.FAIL), said


def not_measured(check: str, reason: str) -> Finding:
    """The finding of a check that could not measure; no gate opens on it."""
    return Finding(check=check, verdict=Verdict.NOT_MEASURED, reason=reason)
