"""The answer kind ``label``: one of several classes, with a probability for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from edgeloop.plugins import register

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays, Json


@register("answer", "label.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Label:
    """``probabilities`` float32[n, classes] and ``label`` int64[n] (index into ``classes``)."""

    classes: tuple[str, ...]

    outputs: ClassVar[tuple[str, ...]] = ("probabilities", "label")

    def parity(self, got: Arrays, want: Arrays, tolerance: float) -> Array:
        """bool[n]: probabilities within ``tolerance`` (absolute, 0 to 1) of each other."""
        import numpy as np

        gap: Array = np.abs(got["probabilities"] - want["probabilities"]).max(axis=1)
        within: Array = gap <= tolerance
        return within

    def disagreement(self, one: Arrays, other: Arrays) -> Array:
        """float64[n]: 1 where the two labels differ, else 0."""
        differing: Array = one["label"] != other["label"]
        return differing.astype("float64")

    def confidence(self, answers: Arrays) -> Array:
        """float64[n] in 0..1: the probability of the label that was chosen."""
        top: Array = answers["probabilities"].max(axis=1)
        return top.astype("float64")

    def quality(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: 1 where the label is the true one."""
        right: Array = answers["label"] == truth
        return right.astype("float64")

    def strata(self, truth: Array) -> dict[str, Array]:
        """bool[n] per true class: the parts of which none may be left behind."""
        return {name: truth == index for index, name in enumerate(self.classes)}

    def evidence(self, answers: Arrays, truth: Array) -> Json:
        """``confusion``: rows per true class (outer) and answered class (inner)."""
        import numpy as np

        size = len(self.classes)
        cells = np.bincount(truth * size + answers["label"], minlength=size * size)
        return {"confusion": cells.reshape(size, size).tolist(), "classes": list(self.classes)}

    def features(self, answers: Arrays) -> dict[str, Array]:
        """float64[n] per named feature of an answer; what the device's sketches watch."""
        return {
            "answer.confidence": self.confidence(answers),
            "answer.label": answers["label"].astype("float64"),
        }

    def describe(self, answers: Arrays, row: int) -> Json:
        """One answer as an application reads it."""
        index = int(answers["label"][row])
        return {
            "label": self.classes[index],
            "confidence": round(float(answers["probabilities"][row].max()), 6),
        }

    def truth(self, stated: Json) -> int:
        """A label that a person confirmed (its name, or its index) as a target value.

        Raises:
            ValueError: it is not one of the classes.
        """
        if isinstance(stated, int) and 0 <= stated < len(self.classes):
            return stated
        return self.classes.index(str(stated))
