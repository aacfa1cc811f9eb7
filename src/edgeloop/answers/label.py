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
    quality_name: ClassVar[str] = "accuracy"

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

    def claims(self, answers: Arrays) -> dict[str, Array]:
        """``confidence`` float64[n] in 0..1: the probability of the label that was chosen."""
        top: Array = answers["probabilities"].max(axis=1)
        return {"confidence": top.astype("float64")}

    def quality(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: 1 where the label is the true one."""
        right: Array = answers["label"] == truth
        return right.astype("float64")

    def strata(self, truth: Array) -> dict[str, Array]:
        """bool[n] per true class: the parts of which none may be left behind."""
        return {name: truth == index for index, name in enumerate(self.classes)}

    def evidence(self, answers: Arrays, truth: Array) -> Json:
        """A picture of how many rows of each true class (down) got each answer (across)."""
        import numpy as np

        size, names = len(self.classes), list(self.classes)
        cells = np.bincount(truth * size + answers["label"], minlength=size * size)
        matrix = {
            "kind": "matrix",
            "title": "true class (down) and answer (across)",
            "rows": names,
            "columns": names,
            "cells": cells.reshape(size, size).tolist(),
        }
        return {"pictures": [matrix]}

    def features(self, answers: Arrays) -> dict[str, Array]:
        """float64[n] per named feature of an answer; what the device's sketches watch."""
        return {
            "answer.confidence": self.claims(answers)["confidence"],
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

    def check_truth(self, truth: Array) -> None:
        """Return when a target column holds indices into ``classes``.

        Raises:
            ValueError: it does not; the rule and what was got.
        """
        whole = truth.dtype.kind in "iub" and truth.ndim == 1
        if not whole or truth.min() < 0 or truth.max() >= len(self.classes):
            raise ValueError(
                f"must hold whole numbers from 0 to {len(self.classes) - 1}, one per row, each the"
                f" index of a class, got {truth.dtype}{list(truth.shape)}"
                f" from {truth.min()} to {truth.max()}"
            )

    def tally(self, truth: Array) -> Json:
        """``classes``: rows per class."""
        import numpy as np

        counts = np.bincount(truth.astype(np.int64), minlength=len(self.classes))
        return {"classes": {c: int(n) for c, n in zip(self.classes, counts, strict=True)}}
