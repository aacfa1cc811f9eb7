"""What a message refuses by itself, before anybody acts on it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgeloop.protocol.messages import (
    LARGEST_SKETCH,
    LONGEST_REASON,
    MOST_SKETCHES,
    Abort,
    Group,
    Outcome,
    Probation,
    RolloutPlan,
    Window,
)

INF, NAN = float("inf"), float("nan")


def window(**changed: Any) -> Window:
    said = {"id": "0" * 32, "bundle": "sha256:" + "a" * 64, "version": 1, "answers": 3}
    return Window.model_validate(said | {"began": 1.0, "ended": 2.0} | changed)


def faults(error: ValidationError) -> list[str]:
    return [str(fault["msg"]) for fault in error.errors()]


@pytest.mark.parametrize("select", ["site north!!", "", "site", "site=a,"])
def test_a_plan_with_another_selector_is_refused_when_it_is_made(select: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Group(select=select)
    assert faults(caught.value) == ["Value error, must be `all`, or label=value joined by commas"]


@pytest.mark.parametrize("stage", ["150%", "half", -1, "5"])
def test_a_plan_with_another_stage_is_refused_when_it_is_made(stage: int | str) -> None:
    with pytest.raises(ValidationError) as caught:
        Group(select="all", stages=(1, stage))
    assert faults(caught.value) == ["Value error, must be a count or a share up to 100%"]


def test_a_group_has_a_stage() -> None:
    with pytest.raises(ValidationError):
        Group(select="all", stages=())


@pytest.mark.parametrize("field", ["began", "ended", "quality"])
@pytest.mark.parametrize("number", [INF, -INF, NAN])
def test_every_number_of_a_window_is_finite(field: str, number: float) -> None:
    with pytest.raises(ValidationError) as caught:
        window(**{field: number, "confirmed": 3})
    assert faults(caught.value) == ["Input should be a finite number"]


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        (RolloutPlan, {"soak_seconds": INF}),
        (RolloutPlan, {"deadline_seconds": INF}),
        (Abort, {"of": "ALL", "over": NAN}),
        (Probation, {"margin": NAN}),
    ],
)
def test_a_plans_numbers_are_finite(kind: type[Any], figures: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        kind(**figures)
    assert faults(caught.value) == ["Input should be a finite number"]


def test_the_quality_of_a_window_is_at_most_one_for_each_confirmed_answer() -> None:
    assert window(quality=2.0, confirmed=2).quality == 2.0
    with pytest.raises(ValidationError) as caught:
        window(quality=2.5, confirmed=2)
    assert faults(caught.value) == [
        "Value error, quality must be at most confirmed (2): each answer gives 0..1"
    ]


@pytest.mark.parametrize(
    "sketches",
    [
        {f"f{i}": "AAAA" for i in range(MOST_SKETCHES + 1)},
        {"f": "A" * (LARGEST_SKETCH + 4)},
        {"f": "not base64"},
        {"": "AAAA"},
        {"f" * 257: "AAAA"},
    ],
)
def test_sketches_are_bounded(sketches: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        window(sketches=sketches)


def test_a_window_may_be_as_full_as_the_bounds_allow() -> None:
    sketches = {f"input.x.{i}": "A" * LARGEST_SKETCH for i in range(MOST_SKETCHES)}
    assert len(window(sketches=sketches).sketches) == MOST_SKETCHES


def test_counts_fit_a_database() -> None:
    with pytest.raises(ValidationError):
        window(answers=2**53 + 1)


def test_words_are_made_without_control_characters_and_kept_as_lines() -> None:
    said = {"digest": "sha256:" + "a" * 64, "rollout": None, "result": "FAILED_NO_STATE_CHANGE"}
    made = Outcome.model_validate(
        said
        | {"reason": "one\0\x1b\x7f\x85\udcff\r\n\ttwo \u00e4", "evidence": {"a\0": ["b\0", 1]}}
    )
    assert (made.reason, made.evidence) == ("one\n\ttwo \u00e4", {"a": ["b", 1]})
    assert Outcome.model_validate_json(made.model_dump_json()) == made
    long = Outcome.model_validate(said | {"reason": "a" * (LONGEST_REASON + 1)})
    assert long.reason == "a" * LONGEST_REASON
