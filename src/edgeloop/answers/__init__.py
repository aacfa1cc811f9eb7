"""Answer kinds: what parity, disagreement, confidence, quality and a feature mean for an answer.

The spine asks the kind and never the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from edgeloop.plugins import get

if TYPE_CHECKING:
    from edgeloop.types import AnswerSpec, Array, Arrays, Json

__all__ = ["AnswerKind", "open_kind"]


class AnswerKind(Protocol):
    """One kind of answer. All arrays have the batch as their first axis, ``n`` rows.

    A row that has no answer (a forecaster's first readings) has NaN in each float that the kind
    gives of it, and is left out of every mean.
    """

    outputs: ClassVar[tuple[str, ...]]
    quality_name: ClassVar[str]  # a short noun for the mean of ``quality``: "accuracy"

    def parity(self, got: Arrays, want: Arrays, tolerance: float) -> Array: ...
    def disagreement(self, one: Arrays, other: Arrays) -> Array: ...
    def claims(self, answers: Arrays) -> dict[str, Array]: ...
    def quality(self, answers: Arrays, truth: Array) -> Array: ...
    def strata(self, truth: Array) -> dict[str, Array]: ...
    def evidence(self, answers: Arrays, truth: Array) -> Json: ...
    def features(self, answers: Arrays) -> dict[str, Array]: ...
    def describe(self, answers: Arrays, row: int) -> Json: ...
    def truth(self, stated: Json) -> Json: ...
    def check_truth(self, truth: Array) -> None: ...
    def tally(self, truth: Array) -> Json: ...


def open_kind(spec: AnswerSpec) -> AnswerKind:
    """The answer kind that ``spec`` names, with its parameters checked.

    Raises:
        UnknownPluginError: no such kind.
        pydantic.ValidationError: the parameters do not fit it.
    """
    kind: AnswerKind = get("answer", spec.kind)(**spec.params)
    return kind
