"""The answer kind ``boxes``: where in an image things are, which, and how surely."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.average_precision import Judged
from edgeloop.answers.matching import Boxes as Found
from edgeloop.answers.matching import agreement, matched
from edgeloop.plugins import register

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays, Json

EMPTY = [-1.0] * 5  # a target's row behind the last box
NOTHING = "nothing"  # the row and the column of a picture for boxes without a pair
RULE = "must be a list of boxes, each with a class and its edges: left < right, top < bottom"


@register("answer", "boxes.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Boxes:
    """``boxes`` float32[n, most, 4], ``scores`` float32[n, most], ``classes`` int64[n, most].

    ``count`` int64[n] says how many of them are given, the best score first; what is behind is 0.
    A box is its left, top, right and bottom edge in pixels. A graph gives the boxes that it scores
    ``score`` (0 to 1) or more. Two boxes are of the same thing when they are of one class and
    overlap by ``iou`` (intersection over union, 0 to 1) or more.

    A target is float32[n, most, 5]: class and edges of each true box, -1 behind the last one.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    most: Annotated[int, Field(ge=1, le=300)] = 8
    iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    score: Annotated[float, Field(gt=0, lt=1)] = 0.3

    outputs: ClassVar[tuple[str, ...]] = ("boxes", "scores", "classes", "count")
    quality_name: ClassVar[str] = "box F1"

    def given(self, answers: Arrays) -> list[Found]:
        """The boxes of each image that are given."""
        columns = (answers[name] for name in self.outputs)
        return [
            Found(corners=corners[:count], classes=classes[:count], scores=scores[:count])
            for corners, scores, classes, count in zip(*columns, strict=True)
        ]

    def true(self, truth: Array) -> list[Found]:
        """The boxes of each image of a target column."""
        present = [boxes[boxes[:, 0] >= 0] for boxes in truth]
        return [Found(corners=b[:, 1:], classes=b[:, 0].astype("int64")) for b in present]

    def parity(self, got: Arrays, want: Arrays, tolerance: float) -> Array:
        """bool[n]: scores differ by ``tolerance`` at the most, edges by that part of their box.

        A box that only one of the two gives may be scored ``tolerance`` above ``score`` at the
        most: it is then one that is hardly given at all.
        """
        gaps = [self._gap(*pair) for pair in zip(self.given(got), self.given(want), strict=True)]
        return _column(gaps) <= tolerance

    def _gap(self, one: Found, other: Found) -> float:
        import numpy as np

        pairs = matched(one, other, self.iou)
        mine, theirs = [pair.one for pair in pairs], [pair.other for pair in pairs]
        lone = np.concatenate([np.delete(one.ranks, mine), np.delete(other.ranks, theirs)])
        scores = np.abs(one.ranks[mine] - other.ranks[theirs])
        shifts = np.abs(one.corners[mine] - other.corners[theirs]).max(axis=1)
        gaps = (lone - self.score, scores, shifts / np.maximum(other.sides[theirs], 1e-6))
        return float(np.concatenate([np.zeros(1), *gaps]).max())

    def disagreement(self, one: Arrays, other: Arrays) -> Array:
        """float64[n]: 1 minus the F1 of the two sets of boxes; two empty sets agree."""
        pairs = zip(self.given(one), self.given(other), strict=True)
        return _column([1 - agreement(*pair, self.iou) for pair in pairs])

    def claims(self, answers: Arrays) -> dict[str, Array]:
        """float64[n] in 0..1: ``confidence``, the mean score; ``count``, as part of ``most``.

        An image without a box has a count, which is 0, and no confidence, which is NaN.
        """
        given = self.given(answers)
        return {
            "confidence": _column([_mean(boxes.ranks) for boxes in given]),
            "count": _column([len(boxes) / self.most for boxes in given]),
        }

    def quality(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: F1 of the boxes that are given and the true ones."""
        pairs = zip(self.given(answers), self.true(truth), strict=True)
        return _column([agreement(*pair, self.iou) for pair in pairs])

    def strata(self, truth: Array) -> dict[str, Array]:
        """bool[n] per class: the images on which it is."""
        return {
            name: (truth[:, :, 0] == index).any(axis=1) for index, name in enumerate(self.classes)
        }

    def judged(self, answers: Arrays, truth: Array) -> Judged:
        """Every box that is given, held against the truth."""
        return Judged.of(
            self.given(answers), self.true(truth), classes=len(self.classes), overlap=self.iou
        )

    def evidence(self, answers: Arrays, truth: Array) -> Json:
        """Average precision by class, and which true box (down) was given as which (across)."""
        found = self.judged(answers, truth).precisions().tolist()
        seen = {n: p for n, p in zip(self.classes, found, strict=True) if not math.isnan(p)}
        names = [*self.classes, NOTHING]
        return {
            "pictures": [
                {
                    "kind": "bars",
                    "title": f"average precision at an overlap of {self.iou:g}",
                    "names": list(seen),
                    "values": list(seen.values()),
                    "unit": "",
                },
                {
                    "kind": "matrix",
                    "title": "true box (down) and the box given there (across)",
                    "rows": names,
                    "columns": names,
                    "cells": self._confused(answers, truth),
                },
            ]
        }

    def _confused(self, answers: Arrays, truth: Array) -> list[list[int]]:
        import numpy as np

        none = len(self.classes)
        cells = np.zeros((none + 1, none + 1), dtype=np.int64)
        for given, true in zip(self.given(answers), self.true(truth), strict=True):
            pairs = matched(given, true, self.iou, any_class=True)
            mine, theirs = [pair.one for pair in pairs], [pair.other for pair in pairs]
            np.add.at(cells, (true.classes[theirs], given.classes[mine]), 1)
            cells[none] += np.bincount(np.delete(given.classes, mine), minlength=none + 1)
            cells[:, none] += np.bincount(np.delete(true.classes, theirs), minlength=none + 1)
        table: list[list[int]] = cells.tolist()
        return table

    def features(self, answers: Arrays) -> dict[str, Array]:
        """float64[n] per named feature of an answer; the last two NaN where no box is given."""
        given = self.given(answers)
        return {
            "answer.count": _column([len(boxes) for boxes in given]),
            "answer.confidence": _column([_mean(boxes.ranks) for boxes in given]),
            "answer.side": _column([_mean(boxes.sides) for boxes in given]),
        }

    def describe(self, answers: Arrays, row: int) -> Json:
        """One answer as an application reads it; ``boxes`` may be empty."""
        boxes = self.given({name: answers[name][row : row + 1] for name in self.outputs})[0]
        columns = (boxes.classes.tolist(), boxes.corners.tolist(), boxes.ranks.tolist())
        return {
            "boxes": [
                {
                    "class": self.classes[label],
                    "box": [round(edge, 2) for edge in edges],
                    "score": round(score, 6),
                }
                for label, edges, score in zip(*columns, strict=True)
            ]
        }

    def truth(self, stated: Json) -> list[list[float]]:
        """The boxes that a person confirmed, ``{"class", "box"}`` of each, as a target [most, 5].

        A target, ``[class, left, top, right, bottom]`` of each, stays what it is.

        Raises:
            ValueError: no list, a class that is none, edges that are no box, or more than ``most``.
        """
        if not isinstance(stated, list):
            raise ValueError(f"{RULE}, got {type(stated).__name__}")  # noqa: TRY004
        if len(stated) > self.most:
            raise ValueError(f"must be {self.most} boxes at the most, got {len(stated)}")
        rows = [self._stated(one) for one in stated if one != EMPTY]
        return rows + [EMPTY] * (self.most - len(rows))

    def _stated(self, one: Json) -> list[float]:
        """Class index and edges of one box."""
        try:
            name, edges = (one["class"], one["box"]) if isinstance(one, dict) else (one[0], one[1:])
            label = self.classes.index(name) if isinstance(name, str) else int(name)
            left, top, right, bottom = edges = [float(edge) for edge in edges]
        except (TypeError, LookupError, ValueError) as fault:
            raise ValueError(f"{RULE}, got {one!r}") from fault
        whole = isinstance(name, str) or label == name
        sound = whole and left < right and top < bottom and all(map(math.isfinite, edges))
        if not sound or not 0 <= label < len(self.classes):
            raise ValueError(f"{RULE}, got {one!r}")
        return [label, *edges]

    def check_truth(self, truth: Array) -> None:
        """Return when a target column holds classes and edges of boxes.

        Raises:
            ValueError: it does not; the rule and what was got.
        """
        import numpy as np

        if str(truth.dtype) != "float32" or truth.shape[1:] != (self.most, 5):
            raise ValueError(
                f"must hold boxes, float32[n, {self.most}, 5]: class, left, top, right, bottom; -1"
                f" behind the last one, got {truth.dtype}{list(truth.shape)}"
            )
        boxes = truth[truth[:, :, 0] >= 0]
        whole = np.isin(boxes[:, 0], np.arange(len(self.classes)))
        sound = (boxes[:, 1:3] < boxes[:, 3:]).all(axis=1) & np.isfinite(boxes).all(axis=1)
        wrong = boxes[~(whole & sound)]
        if len(wrong) or np.isnan(truth).any():
            got = wrong[0].tolist() if len(wrong) else "NaN"
            raise ValueError(
                f"must hold boxes of class 0 to {len(self.classes) - 1} with left < right and top <"
                f" bottom, got {got}"
            )

    def tally(self, truth: Array) -> Json:
        """``classes``: true boxes per class; ``boxes``: images per number of boxes."""
        import numpy as np

        present = truth[:, :, 0] >= 0
        labels = truth[:, :, 0][present].astype(np.int64)
        counts = np.bincount(labels, minlength=len(self.classes)).tolist()
        numbers = np.bincount(present.sum(axis=1)).tolist()
        return {
            "classes": dict(zip(self.classes, counts, strict=True)),
            "boxes": {str(number): rows for number, rows in enumerate(numbers)},
        }


def _column(values: list[float]) -> Array:
    import numpy as np

    return np.array(values, dtype=np.float64)


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else math.nan
