"""A switch of slots under load loses no answer, and mixes no two versions in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.weather.switching import SCALES, switched


def judge(folder: Path, switches: int, rate: float) -> None:
    tally = switched(folder, switches, rate)
    print(tally.table(switches))
    assert tally.failed == []
    assert tally.mixed == []
    assert len(tally.by) == len(SCALES)


def test_a_few_switches_under_load_lose_and_mix_no_answer(tmp_path: Path) -> None:
    judge(tmp_path, switches=10, rate=200)


@pytest.mark.hard
def test_200_switches_under_load_lose_and_mix_no_answer(tmp_path: Path) -> None:
    judge(tmp_path, switches=200, rate=200)
