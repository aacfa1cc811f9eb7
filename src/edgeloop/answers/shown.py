"""The answer kind that a target column shows, where nobody has said which it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from edgeloop.types import Array

RULE = "must hold whole numbers, one per row, or the source must say its answer: {kind: ...}"


def shown(truth: Array) -> AnswerSpec:
    """``label`` for whole numbers from 0, one per row, with classes named after them.

    Raises:
        ValueError: it shows no kind; the rule and what was got.
    """
    whole = truth.dtype.kind in "iu" and truth.ndim == 1 and truth.size
    if not whole:
        raise ValueError(f"{RULE}, got {truth.dtype}{list(truth.shape)}")
    classes = [str(number) for number in range(int(truth.max()) + 1)]
    return AnswerSpec(kind="label", params={"classes": classes})
