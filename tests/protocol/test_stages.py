"""How many devices a stage holds, and in what order stages stand."""

import pytest

from edgeloop.errors import ProtocolError
from edgeloop.protocol.stages import out_of_order, stage_size


@pytest.mark.parametrize(
    ("stage", "members", "size"),
    [(1, 8, 1), (3, 2, 2), ("50%", 3, 2), ("50 %", 4, 2), ("0%", 4, 0), ("1%", 1000, 10),
     ("1%", 3, 1), ("12.5%", 16, 2), ("100%", 7, 7), ("100%", 0, 0), (0, 5, 0)],
)  # fmt: skip
def test_a_stage_is_a_count_or_a_share_rounded_up(
    stage: int | str, members: int, size: int
) -> None:
    assert stage_size(stage, members) == size


@pytest.mark.parametrize("stage", ["half", "101%", "-1", -1, "5"])
def test_another_stage_is_refused(stage: int | str) -> None:
    with pytest.raises(ProtocolError) as caught:
        stage_size(stage, 3)
    assert str(caught.value) == (
        f"[E606] stage of a rollout plan must be a count or a share up to 100%, got {stage!r}"
    )


@pytest.mark.parametrize(
    ("stages", "rule"),
    [
        ((1, "50%", "100%"), ""),
        ((1, 2, 8), ""),
        (("10%", 5, "12.5 %", 6), ""),
        ((0, "100%"), "stage 0 must be above 0"),
        (("0%",), "stage 0% must be above 0%"),
        ((1, 1), "stage 1 must be above 1"),
        ((2, "50%", 1), "stage 1 must be above 2"),
        (("50%", 3, "50.0 %"), "stage 50.0 % must be above 50%"),
        ((1, "100%", 2), "stage 2 must not follow 100%, which is everybody"),
        (("100%", "100%"), "stage 100% must not follow 100%, which is everybody"),
    ],
)
def test_each_stage_is_above_those_before_it_where_they_can_be_compared(
    stages: tuple[int | str, ...], rule: str
) -> None:
    assert out_of_order(stages) == rule
