"""The answer kind ``text``: words that a language model wrote, and how sure it was of them.

Likeness of two texts is the F1 of their words, as for answers to questions in SQuAD: Rajpurkar et
al. 2016, arXiv:1606.05250. Case and punctuation do not count, nor does order.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.plugins import register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeloop.types import Array, Arrays, Json

WORD = re.compile(r"\w+(?:'\w+)?")
PARTS = 5  # bars of the evidence's picture
LONGEST = 100_000  # characters of a text that a person confirms


@register("answer", "text.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Text:
    """``text`` str[n], ``tokens`` int64[n], and ``probability`` float32[n], the tokens' mean.

    ``most`` is the most tokens that an answer may have; lengths are shares of it.
    """

    most: Annotated[int, Field(ge=1, le=8192)] = 64

    outputs: ClassVar[tuple[str, ...]] = ("text", "tokens", "probability")
    quality_name: ClassVar[str] = "word F1"

    def parity(self, got: Arrays, want: Arrays, tolerance: float) -> Array:
        """bool[n]: all but the share ``tolerance`` (0 to 1) of the characters lead both texts."""
        import numpy as np

        pairs = zip(got["text"], want["text"], strict=True)
        equal: Array = np.array([_leading(*pair) >= 1 - tolerance for pair in pairs], dtype=bool)
        return equal

    def disagreement(self, one: Arrays, other: Arrays) -> Array:
        """float64[n]: 1 less the F1 of the two texts' words."""
        likeness: Array = _alike(one["text"], other["text"])
        return 1 - likeness

    def claims(self, answers: Arrays) -> dict[str, Array]:
        """``confidence``, the mean probability of the tokens; ``length``, tokens over ``most``."""
        import numpy as np

        return {
            "confidence": np.clip(answers["probability"].astype(np.float64), 0, 1),
            "length": np.clip(answers["tokens"] / self.most, 0, 1),
        }

    def quality(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: F1 of the words with those of the reference text."""
        return _alike(answers["text"], truth)

    def strata(self, truth: Array) -> dict[str, Array]:  # noqa: ARG002
        """None: a text belongs to no part."""
        return {}

    def evidence(self, answers: Arrays, truth: Array) -> Json:
        """How many answers are how much like their reference, and the mean length."""
        import numpy as np

        counts, edges = np.histogram(self.quality(answers, truth), bins=PARTS, range=(0, 1))
        bars = {
            "kind": "bars",
            "title": "answers by likeness to their reference (F1 of words)",
            "names": [f"{low:.1f} to {low + 1 / PARTS:.1f}" for low in edges[:-1]],
            "values": counts.tolist(),
            "unit": "answers",
        }
        return {"pictures": [bars], "tokens": float(answers["tokens"].mean())}

    def features(self, answers: Arrays) -> dict[str, Array]:
        """float64[n] per named feature of an answer; what the device's sketches watch."""
        import numpy as np

        words = [len(WORD.findall(text)) for text in answers["text"]]
        return {
            **{f"answer.{name}": values for name, values in self.claims(answers).items()},
            "answer.words": np.array(words, dtype=np.float64),
        }

    def describe(self, answers: Arrays, row: int) -> Json:
        """One answer as an application reads it."""
        return {
            "text": str(answers["text"][row]),
            "tokens": int(answers["tokens"][row]),
            "confidence": round(float(answers["probability"][row]), 6),
        }

    def truth(self, stated: Json) -> str:
        """A text that a person confirmed, as a target value.

        Raises:
            ValueError: it is no text, has no word, or is too long.
        """
        if not isinstance(stated, str) or not WORD.search(stated) or len(stated) > LONGEST:
            raise ValueError(f"must be a text with a word, of {LONGEST} characters or fewer")
        return stated

    def check_truth(self, truth: Array) -> None:
        """Return when a target column holds texts, one per row.

        Raises:
            ValueError: it does not; the rule and what was got.
        """
        if truth.dtype.kind != "O" or truth.ndim != 1:
            got = f"{truth.dtype}{list(truth.shape)}"
            raise ValueError(f"must hold one text per row, got {got}")
        for row, text in enumerate(truth):
            try:
                self.truth(text)
            except ValueError as fault:
                raise ValueError(f"{fault}, got {str(text)[:40]!r} in row {row}") from fault

    def tally(self, truth: Array) -> Json:
        """``words``: least, mean and most of a reference."""
        counts = [len(WORD.findall(text)) for text in truth]
        mean = round(sum(counts) / len(counts), 3)
        return {"words": {"least": min(counts), "mean": mean, "most": max(counts)}}


def _alike(ones: Sequence[str] | Array, others: Sequence[str] | Array) -> Array:
    """float64[n]: F1 of the words of each pair; 1 where neither has any."""
    import numpy as np

    pairs = zip(ones, others, strict=True)
    likeness: Array = np.array(
        [_f1(_words(one), _words(other)) for one, other in pairs], np.float64
    )
    return likeness


def _words(text: str) -> Counter[str]:
    return Counter(WORD.findall(text.lower()))


def _f1(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def _leading(one: str, other: str) -> float:
    """The share, of the longer text, of leading characters that are equal."""
    longer = max(len(one), len(other))
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    equal = min(len(one), len(other)) if same is None else same
    return equal / longer if longer else 1.0
