"""How far a language model's next-token distributions have moved from the reference's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.held_out_text import NO_SCORES, NO_TEXT, held_out_text, scored
from edgeloop.checks.limits import at_most, not_measured
from edgeloop.checks.perplexity import mean_and_half
from edgeloop.plugins import register
from edgeloop.types import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeloop.plugins import Context
    from edgeloop.types import Model

LEAST = 1e-9  # of what is left over a probability that rounding took below zero


@register("check", "kl_divergence.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class KlDivergence:
    """Mean divergence (nats per token) of the model from the reference, at most ``max``.

    KL(reference || model) of the next token behind each token of a held-out text. Distributions
    are compared over the tokens that are among the ``likeliest`` of both, with all others as one:
    merging tokens can only make the divergence smaller, so the value is a lower bound. The
    text is as for perplexity. ``max`` None measures without a limit.
    """

    max: Annotated[float, Field(gt=0)] | None = None
    column: str | None = None
    tokens: Annotated[int, Field(ge=16, le=100_000)] = 512
    likeliest: Annotated[int, Field(ge=1, le=1000)] = 64

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "xllamacpp")
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "reference")

    def run(self, model: Model, context: Context) -> Finding:
        """Value, with an interval from the spread over tokens."""
        if context.reference is None:
            return not_measured("kl_divergence", "there is no reference model")
        text = held_out_text(context, self.column)
        if not text:
            return not_measured("kl_divergence", NO_TEXT)
        mine = scored(model, context, text, self.tokens, self.likeliest)
        theirs = scored(context.reference, context, text, self.tokens, self.likeliest)
        if not mine or not theirs:
            return not_measured("kl_divergence", NO_SCORES)
        if [one.token for one in mine] != [one.token for one in theirs]:
            return not_measured("kl_divergence", "the reference cuts the text into other tokens")
        pairs = zip(theirs, mine, strict=True)
        mean, half = mean_and_half([divergence(a.likeliest, b.likeliest) for a, b in pairs])
        verdict, limit = at_most(mean, self.max, "nats")
        return Finding(
            check="kl_divergence",
            verdict=verdict,
            value=mean,
            unit="nats",
            limit=limit,
            interval=(max(0.0, mean - half), mean + half),
            evidence={"tokens": len(mine), "likeliest": self.likeliest},
        )


def divergence(reference: Mapping[int, float], model: Mapping[int, float]) -> float:
    """KL in nats of two distributions told as logarithms of some tokens' probabilities."""
    shared = sorted(reference.keys() & model.keys())
    ours, theirs = ([math.exp(side[token]) for token in shared] for side in (model, reference))
    ours.append(max(LEAST, 1 - sum(ours)))
    theirs.append(max(LEAST, 1 - sum(theirs)))
    pairs = zip(theirs, ours, strict=True)
    return max(0.0, sum(p * math.log(p / q) for p, q in pairs))
