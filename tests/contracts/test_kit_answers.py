"""The kit catches an answer kind that a report could not tell of."""

from typing import ClassVar

import pytest
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from edgeloop.answers.label import Label
from edgeloop.testing import contracts
from edgeloop.testing.contracts import ContractError

strict = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))


@strict
class Nameless(Label):
    """Labels whose quality has no name."""

    plugin_name: ClassVar[str] = "nameless.v1"
    quality_name: ClassVar[str] = ""


@strict
class Crooked(Label):
    """Labels with a picture that cannot be drawn."""

    plugin_name: ClassVar[str] = "crooked.v1"

    def evidence(self, answers, truth):
        bars = {"kind": "bars", "title": "rows", "names": ["a"], "values": []}
        return {"pictures": [bars]}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Nameless, "nameless.v1 must name its quality: quality_name, got "),
        (
            Crooked,
            "crooked.v1 must leave pictures that a report can draw, got"
            " ('number 1 of evidence, bars: must have 1 values, one per name',)",
        ),
    ],
)
def test_a_report_can_tell_of_every_answer_kind(kind, said):
    import numpy as np  # here, for a plugin's module has to be light

    shares = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)
    answers = {"probabilities": shares, "label": shares.argmax(axis=1)}
    with pytest.raises(ContractError) as caught:
        contracts.check_answer_kind(kind(classes=("a", "b")), answers, np.array([0, 1]))
    assert str(caught.value) == said
