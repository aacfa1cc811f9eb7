"""Stages that do not increase are refused where a person writes them."""

from pathlib import Path

import pytest

from edgeloop.errors import LoopFileError
from edgeloop.loop.file import load_loop

pytestmark = pytest.mark.usefixtures("toys")


def test_a_stage_that_is_not_above_the_one_before_is_a_fault_of_the_loop_file(
    loop_path: Path,
) -> None:
    groups = "rollout.groups=[{select: all, stages: [1, '50%', '20%']}]"
    with pytest.raises(LoopFileError) as raised:
        load_loop(loop_path, [groups])
    assert "rollout.groups.0.stages stage 20% must be above 50%" in str(raised.value)
