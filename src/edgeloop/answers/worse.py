"""Is a new slot worse than declared? Tests that may be looked at after every answer.

Each claim is about the mean of values in 0..1. The evidence against "the mean is at most m" is the
capital of a gambler who bets against it: the average over several stakes of
prod(1 + stake * (x - m)). Under the claim it is a non-negative supermartingale that starts at 1, so
it ever reaches 1/alpha with probability alpha at the most (Ville), however often one looks
(Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from edgeloop.answers.intervals import wilson

STAKES = (0.05, 0.1, 0.2, 0.4, 0.8)  # as shares of the largest stake that cannot go bankrupt


class Standing(StrEnum):
    """Where a probation stands."""

    WATCHING = "watching"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a release said beforehand of one population of inputs, from ``rows`` measured rows.

    ``disagreement`` None: nothing was declared against the release that is current here.
    """

    profile: str
    rows: int
    disagreement: float | None  # mean 0..1 of how much answers differ from the release before
    claims: Mapping[str, float] = field(default_factory=dict)  # the kind's own: name -> mean 0..1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much worse than declared is too much; see ``protocol.messages.Probation``."""

    answers: int
    margin: float
    claim_margin: float
    errors: float
    alpha: float


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Where the probation stands, why, and the figures behind it."""

    standing: Standing
    reason: str
    figures: dict[str, float]


def evidence_above(values: Sequence[float], mean: float) -> float:
    """Capital won against the claim "the mean of ``values`` (0..1) is ``mean`` at the most"."""
    if mean >= 1:
        return 1.0
    largest = 1 / max(mean, 1e-6)
    logs = [_log_capital(values, mean, share * largest) for share in STAKES]
    top = max(logs)
    return math.exp(min(top + math.log(sum(math.exp(v - top) for v in logs) / len(logs)), 700))


def _log_capital(values: Sequence[float], mean: float, stake: float) -> float:
    return sum(math.log1p(stake * (value - mean)) for value in values)


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """A claim: the mean of ``values`` is at most ``limit``; mirrored when the limit is a floor."""

    name: str
    values: Sequence[float]
    limit: float
    mirrored: bool = False

    def broken(self, alpha: float) -> bool:
        return evidence_above(self.values, self.limit) >= 1 / alpha

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values) if self.values else 0.0

    @property
    def text(self) -> str:
        if self.mirrored:
            return f"{self.name} {1 - self.mean:.3f} is below the limit {1 - self.limit:.3f}"
        return f"{self.name} {self.mean:.3f} is above the limit {self.limit:.3f}"


def judge(
    declared: Declared | None,
    limits: Limits,
    *,
    disagreements: Sequence[float],
    claims: Mapping[str, Sequence[float]],
    errors: Sequence[float],
) -> Judgement:
    """Hold what a probation saw against what the release declared for such inputs.

    ``disagreements`` has one value in 0..1 per answer that both slots gave, ``claims`` per name one
    per answer of the new slot, ``errors`` a 0 or 1 per answer that it was asked for. Without
    ``declared`` (nothing to compare with, e.g. a first release) only errors are judged. A claim
    that was declared and is never seen is not judged: a row may have no answer.

    Fails as soon as a test rejects. Passes at ``limits.answers`` when every mean is within its
    limit; one that is beyond, yet not rejected, is watched for twice as long again, then fails.
    """
    held = [_Claim(name="error share", values=errors, limit=limits.errors)]
    if declared is not None:
        held += _declared_claims(declared, limits, disagreements, claims)
    figures = {claim.name: round(claim.mean, 6) for claim in held if not claim.mirrored}
    figures["answers"] = len(errors)
    late = len(errors) >= 3 * limits.answers
    beyond = [claim for claim in held if claim.mean > claim.limit]
    broken = [claim for claim in beyond if late or claim.broken(limits.alpha / len(held))]
    if broken:
        profile = f" on inputs like {declared.profile!r}" if declared else ""
        reason = "; ".join(claim.text for claim in broken) + profile
        return Judgement(standing=Standing.FAILED, reason=reason, figures=figures)
    enough = len(errors) >= limits.answers and not beyond
    standing = Standing.PASSED if enough else Standing.WATCHING
    return Judgement(standing=standing, reason="", figures=figures)


def _declared_claims(
    declared: Declared,
    limits: Limits,
    disagreements: Sequence[float],
    claims: Mapping[str, Sequence[float]],
) -> list[_Claim]:
    found = []
    if declared.disagreement is not None:
        most = wilson(declared.disagreement, declared.rows)[1] + limits.margin
        found.append(_Claim(name="disagreement", values=disagreements, limit=min(most, 1.0)))
    for name, mean in declared.claims.items():
        found += _both_sides(name, claims.get(name, ()), mean, limits.claim_margin)
    return found


def _both_sides(
    name: str, values: Sequence[float], mean: float, margin: float
) -> tuple[_Claim, _Claim]:
    """Not above ``mean + margin``, not below ``mean - margin``."""
    mirrored = [1 - value for value in values]
    return (
        _Claim(name=name, values=values, limit=min(mean + margin, 1.0)),
        _Claim(name=name, values=mirrored, limit=min(1 - (mean - margin), 1.0), mirrored=True),
    )
