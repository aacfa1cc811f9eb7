"""Population stability index: how far one profile has moved from another.

Per feature, over the reference's decile bins: sum((p - q) * ln(p / q)). By custom below 0.1 is calm
and above 0.25 is a shift (Siddiqi, "Credit Risk Scorecards", 2006). Two samples of one population
give (bins - 1) * (1 / n + 1 / m) on average (Yurdakul, "Statistical properties of the population
stability index", 2018); that much is taken off, so that small samples do not look like a shift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgeloop.sketches.profile import Profile

BINS = 10
LEAST_ROWS = 50  # fewer rows put 5 or less in a decile: the index would be noise


def psi(reference: Profile, seen: Profile, feature: str) -> float | None:
    """The index of one feature less its expected noise, 0 or more.

    None when either side saw fewer than ``LEAST_ROWS`` values.
    """
    rows = (reference.rows(feature), seen.rows(feature))
    if min(rows) < LEAST_ROWS:
        return None
    ranks = [i / BINS for i in range(1, BINS)]
    edges = sorted(set(reference.quantiles(feature, ranks)))
    expected = _smooth(reference.shares(feature, edges), reference.rows(feature))
    actual = _smooth(seen.shares(feature, edges), seen.rows(feature))
    index = sum((p - q) * math.log(p / q) for p, q in zip(actual, expected, strict=True))
    return max(0.0, index - len(edges) * (1 / rows[0] + 1 / rows[1]))


def _smooth(shares: list[float], rows: int) -> list[float]:
    """Half a row in every bin, so that an empty one does not make the index infinite."""
    return [(share * rows + 0.5) / (rows + 0.5 * len(shares)) for share in shares]


def drift(reference: Profile, seen: Profile, prefix: str = "") -> dict[str, float]:
    """The index of every feature that both profiles have and whose name starts with ``prefix``."""
    found = {}
    for feature in reference.features:
        value = psi(reference, seen, feature) if feature.startswith(prefix) else None
        if value is not None:
            found[feature] = value
    return found


def distance(reference: Profile, seen: Profile) -> float | None:
    """Mean index over the input features: how unlike two populations of inputs are."""
    values = drift(reference, seen, "input.").values()
    return sum(values) / len(values) if values else None


def nearest(references: Mapping[str, Profile], seen: Profile) -> tuple[str, float] | None:
    """The reference most like ``seen`` by :func:`distance`; None when nothing can be compared."""
    found = [(name, distance(profile, seen)) for name, profile in references.items()]
    known = [(name, value) for name, value in found if value is not None]
    return min(known, key=lambda pair: pair[1]) if known else None
