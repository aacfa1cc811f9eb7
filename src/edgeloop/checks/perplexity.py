"""How surprised a language model is by real text: the lower, the better it knows it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.intervals import Z95
from edgeloop.checks.held_out_text import NO_SCORES, NO_TEXT, held_out_text, scored
from edgeloop.checks.limits import at_most, not_measured
from edgeloop.plugins import register
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "perplexity.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Perplexity:
    """Perplexity over the first ``tokens`` tokens of a held-out text, at most ``max``.

    The exponential of the mean negative log-likelihood of each token behind those before it, over
    the whole vocabulary, without a template. The text is the column ``column`` of the part
    ``test``; None takes the model's first input. ``max`` None measures without a limit.
    """

    max: Annotated[float, Field(gt=1)] | None = None
    column: str | None = None
    tokens: Annotated[int, Field(ge=16, le=100_000)] = 512

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "xllamacpp")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Finding:
        """Value, with an interval from the spread over tokens."""
        text = held_out_text(context, self.column)
        if not text:
            return not_measured("perplexity", NO_TEXT)
        told = scored(model, context, text, self.tokens, 1)
        if not told:
            return not_measured("perplexity", NO_SCORES)
        mean, half = mean_and_half([-one.log for one in told])
        value = math.exp(mean)
        verdict, limit = at_most(value, self.max)
        return Finding(
            check="perplexity",
            verdict=verdict,
            value=value,
            limit=limit,
            interval=(math.exp(mean - half), math.exp(mean + half)),
            evidence={"tokens": len(told), "nats_per_token": mean},
        )


def mean_and_half(values: list[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (normal approximation)."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean, Z95 * math.sqrt(variance / len(values))
