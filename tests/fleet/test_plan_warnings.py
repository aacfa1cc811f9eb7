"""What the start of a rollout tells of a plan that does otherwise than it seems."""

from __future__ import annotations

from fleet_bench import Bench, plan

from edgeloop.protocol.messages import Group


def warnings(bench: Bench, *groups: Group) -> tuple[str, ...]:
    bench.list_release(1, plan(*groups))
    made = bench.operator.create_rollout("sorter", "stable", 1)
    assert bench.operator.rollout(made.id).warnings == made.warnings
    told = [line for line in bench.operator.audit() if line.action == "rollout.warned"]
    assert tuple(line.detail["warning"] for line in told) == made.warnings
    return made.warnings


def test_a_group_that_matches_no_device_is_told(bench: Bench) -> None:
    bench.device("cam-1", site="south")
    assert warnings(bench, Group(select="site=north"), Group(select="site=south")) == (
        "group site=north matches no device of stable/sorter that no group before it has",
    )


def test_a_group_of_barred_devices_alone_is_told(bench: Bench) -> None:
    bench.device("cam-1", site="south")
    bench.device("cam-2", site="north")
    bench.operator.hold("cam-2")
    assert warnings(bench, Group(select="site=north"), Group(select="site=south")) == (
        "group site=north has only devices that are barred (1)",
    )


def test_a_plan_that_leaves_devices_out_is_told(bench: Bench) -> None:
    for number in range(4):
        bench.device(f"cam-{number}")
    assert warnings(bench, Group(select="all", stages=(1, "50%"))) == (
        "group all ends at 50% and not at 100%: 2 of its 4 devices get nothing",
    )


def test_stages_that_do_not_increase_are_told(bench: Bench) -> None:
    bench.device("cam-1")
    assert warnings(bench, Group(select="all", stages=("50%", "20%", "100%"))) == (
        "group all: stage 20% must be above 50%",
    )


def test_a_plan_that_does_what_it_seems_to_warns_of_nothing(bench: Bench) -> None:
    for number in range(3):
        bench.device(f"cam-{number}")
    assert warnings(bench, Group(select="all", stages=(1, "50%", 3))) == ()


def test_a_draft_warns_when_it_starts(bench: Bench) -> None:
    bench.device("cam-1")
    bench.list_release(1, plan(Group(select="all"), Group(select="site=north")))
    draft = bench.operator.create_rollout("sorter", "stable", 1, start=False)
    assert draft.warnings == ()
    assert bench.operator.start(draft.id).warnings == (
        "group site=north matches no device of stable/sorter that no group before it has",
    )
