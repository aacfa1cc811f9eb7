"""The rules of a rollout: a table of cases, and what holds whatever happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.fleet import rollout as rules
from edgeloop.fleet.rollout import Device, End, Enlisted, Finish, Job, Offer, Open, Rollout, Stop
from edgeloop.protocol.messages import (
    Abort,
    Group,
    JobState,
    Outcome,
    ReleaseRef,
    Report,
    Result,
    RolloutPlan,
    RolloutState,
    State,
)

DIGEST = "sha256:" + "a" * 64
OLD = "sha256:" + "b" * 64
NOW = 1000.0


def plan(*stages: int | str, **changed: Any) -> RolloutPlan:
    figures: dict[str, Any] = {"soak_seconds": 10, "deadline_seconds": 100, "min_answers": 20}
    groups = (Group(select="all", stages=stages or (1, "50%", "100%")),)
    return RolloutPlan(**({"groups": groups} | figures | changed))


def a_rollout(**changed: Any) -> Rollout:
    figures: dict[str, Any] = {
        "id": 1,
        "name": "m",
        "channel": "c",
        "digest": DIGEST,
        "plan": plan(),
        "state": RolloutState.RUNNING,
        "opened": (-1,),
    }
    return Rollout(**(figures | changed))


def report(**said: Any) -> Report:
    figures: dict[str, Any] = {"moves": 1, "state": State.COMMITTED, "target": "linux-x86"}
    running = ReleaseRef(name="m", channel="c", version=1, digest=said.pop("digest", DIGEST))
    return Report(**(figures | {"running": running, "answers_since_switch": 20} | said))


def a_device(name: str = "d", **changed: Any) -> Device:
    figures: dict[str, Any] = {"model": "m", "channel": "c", "labels": {}, "target": "linux-x86"}
    figures["changed"] = NOW
    return Device(id=name, **(figures | changed))


def running_job(**changed: Any) -> Job:
    figures: dict[str, Any] = {
        "device": "d",
        "group": 0,
        "stage": 0,
        "state": JobState.IN_PROGRESS,
        "offered": NOW - 5,
    }
    return Job(**(figures | changed))


def outcome(result: Result, **changed: Any) -> Outcome:
    return Outcome(
        **({"digest": DIGEST, "rollout": 1, "result": result, "reason": "worse"} | changed)
    )


def settled(device: Device, job: Job | None = None, **changed: Any) -> End | None:
    return rules.settle(a_rollout(**changed), job or running_job(), device, NOW)


SUCCEEDED = End(device="d", state=JobState.SUCCEEDED)
CASES: list[tuple[str, Device, End | None]] = [
    ("runs it and answers", a_device(report=report(), reported=NOW), SUCCEEDED),
    ("said so before the offer", a_device(report=report(), reported=NOW - 6), None),
    (
        "answers too little",
        a_device(report=report(answers_since_switch=19), reported=NOW),
        None,
    ),
    ("is on probation", a_device(report=report(state=State.PROBATION), reported=NOW), None),
    ("runs the old one", a_device(report=report(digest=OLD), reported=NOW), None),
    ("installed is not success", a_device(report=report(running=None), reported=NOW), None),
    ("said nothing yet", a_device(), None),
    (
        "went back",
        a_device(
            report=report(digest=OLD, outcome=outcome(Result.FAILED_ROLLBACK_COMPLETE)),
            reported=NOW,
        ),
        End(device="d", state=JobState.FAILED, reason="FAILED_ROLLBACK_COMPLETE: worse"),
    ),
    (
        "could not go back",
        a_device(
            report=report(outcome=outcome(Result.FAILED_UNABLE_TO_ROLLBACK, reason="")),
            reported=NOW,
        ),
        End(device="d", state=JobState.FAILED, reason="FAILED_UNABLE_TO_ROLLBACK"),
    ),
    (
        "rejected it",
        a_device(
            report=report(digest=OLD, outcome=outcome(Result.REJECTED, evidence={"a": 1})),
            reported=NOW,
        ),
        End(
            device="d",
            state=JobState.REJECTED,
            reason="REJECTED: worse",
            evidence={"a": 1},
        ),
    ),
    (
        "failed in an earlier rollout",
        a_device(
            report=report(outcome=outcome(Result.FAILED_ROLLBACK_COMPLETE, rollout=0)),
            reported=NOW,
        ),
        SUCCEEDED,
    ),
    (
        "is silent",
        a_device(changed=NOW - 101, report=report(digest=OLD), reported=NOW - 200),
        None,
    ),
    (
        "was decommissioned",
        a_device(gone=True, barred="decommissioned", report=report(), reported=NOW),
        End(device="d", state=JobState.REMOVED, reason="device is decommissioned"),
    ),
    (
        "is on hold, and goes on",
        a_device(barred="on hold", report=report(), reported=NOW),
        SUCCEEDED,
    ),
]


@pytest.mark.parametrize(("device", "end"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_an_offered_job_ends_by_what_its_device_says(device: Device, end: End | None) -> None:
    assert settled(device) == end


def test_silence_past_the_deadline_is_timed_out() -> None:
    silent = a_device(changed=NOW - 101)
    assert settled(silent, running_job(offered=NOW - 100)) is None
    end = settled(silent, running_job(offered=NOW - 102))
    assert end == End(
        device="d",
        state=JobState.TIMED_OUT,
        reason="nothing new from the device for 101 s, deadline 100 s",
    )


def test_a_device_that_keeps_saying_something_new_is_not_silent() -> None:
    assert settled(a_device(changed=NOW - 1), running_job(offered=NOW - 500)) is None


def test_a_device_that_goes_back_after_its_success_fails_while_the_rollout_is_on() -> None:
    done = running_job(state=JobState.SUCCEEDED, ended=NOW - 1)
    back = a_device(report=report(digest=OLD, outcome=outcome(Result.FAILED_ROLLBACK_COMPLETE)))
    end = settled(back, done)
    assert end is not None
    assert end.state is JobState.FAILED
    assert settled(back, done, state=RolloutState.FINISHED) is None


def ended(state: JobState, count: int, **changed: Any) -> list[Job]:
    return [running_job(state=state, ended=NOW, **changed)] * count


@pytest.mark.parametrize(
    ("abort", "jobs", "reason"),
    [
        (Abort(of="FAILED", over=5), ended(JobState.FAILED, 1) + ended(JobState.SUCCEEDED, 1),
         "1 of 2 executed jobs FAILED (50.0 %), limit 5 %"),
        (Abort(of="FAILED", over=50), ended(JobState.FAILED, 1) + ended(JobState.SUCCEEDED, 1), ""),
        (Abort(of="TIMED_OUT", over=20, min_executed=4),
         ended(JobState.TIMED_OUT, 1) + ended(JobState.SUCCEEDED, 2), ""),
        (Abort(of="TIMED_OUT", over=20, min_executed=4),
         ended(JobState.TIMED_OUT, 1) + ended(JobState.SUCCEEDED, 3),
         "1 of 4 executed jobs TIMED_OUT (25.0 %), limit 20 %"),
        (Abort(of="ALL", over=20),
         ended(JobState.TIMED_OUT, 1) + ended(JobState.REJECTED, 1) + ended(JobState.SUCCEEDED, 2),
         "2 of 4 executed jobs not SUCCEEDED (50.0 %), limit 20 %"),
        (Abort(of="REJECTED", over=20),
         ended(JobState.REJECTED, 1, offered=None) + ended(JobState.SUCCEEDED, 1), ""),
        (Abort(of="FAILED", over=5),
         ended(JobState.REMOVED, 3) + ended(JobState.SUCCEEDED, 1), ""),
    ],
)  # fmt: skip
def test_an_abort_rule_counts_executed_jobs_of_the_whole_rollout(
    abort: Abort, jobs: list[Job], reason: str
) -> None:
    assert rules.why_stop(a_rollout(plan=plan(abort=(abort,))), jobs) == reason


def test_a_stage_without_any_success_stops_the_rollout() -> None:
    rollout = a_rollout(plan=plan(abort=()), opened=(0,))
    assert rules.why_stop(rollout, ended(JobState.TIMED_OUT, 1)) == (
        "group all ended stage 1 without a success"
    )


def test_a_group_that_sleeps_later_does_not_stop_the_rollout_by_itself() -> None:
    rollout = a_rollout(plan=plan(abort=()), opened=(1,))
    jobs = ended(JobState.SUCCEEDED, 1) + ended(JobState.TIMED_OUT, 1, stage=1)
    assert rules.why_stop(rollout, jobs) == ""


def fleet(count: int, **changed: Any) -> dict[str, Device]:
    return {f"d{i}": a_device(f"d{i}", **changed) for i in range(count)}


def test_stages_contain_the_former_and_the_order_is_sticky_and_salted() -> None:
    devices = fleet(8).values()
    one = rules.enlist(a_rollout(), devices)
    again = rules.enlist(a_rollout(), reversed(list(devices)))
    other = rules.enlist(a_rollout(id=2), devices)
    assert [job.stage for job in one.jobs] == [0, 1, 1, 1, 2, 2, 2, 2]
    assert one == again
    assert [job.device for job in one.jobs] != [job.device for job in other.jobs]


def test_the_first_group_that_selects_a_device_has_it() -> None:
    groups = (Group(select="site=north"), Group(select="all"))
    devices = [a_device("n", labels={"site": "north"}), a_device("s", labels={"site": "south"})]
    jobs = rules.enlist(a_rollout(plan=plan(groups=groups), opened=(-1, -1)), devices).jobs
    assert [(job.device, job.group) for job in jobs] == [("n", 0), ("s", 1)]


def test_a_barred_device_is_not_selected_and_says_so() -> None:
    devices = [a_device("a"), a_device("b", barred="on hold")]
    assert rules.enlist(a_rollout(), devices) == Enlisted(
        jobs=(Job(device="a", group=0, stage=0),), skipped=(("b", "on hold"),)
    )


def test_a_device_of_another_target_is_rejected_without_an_offer_and_takes_no_place() -> None:
    rollout = a_rollout(targets=("linux-arm64",), plan=plan(1, "100%"))
    devices = {"x": a_device("x"), "arm": a_device("arm", target="linux-arm64")}
    jobs = rules.enlist(rollout, devices.values()).jobs
    assert {job.device: job.stage for job in jobs} == {"arm": 0, "x": 0}
    decisions = rules.decide(rollout, jobs, devices, NOW)
    assert Offer(device="arm") in decisions
    assert (
        End(
            device="x",
            state=JobState.REJECTED,
            reason="target linux-x86 is not among linux-arm64",
        )
        in decisions
    )


def test_a_device_without_a_runtime_that_is_needed_takes_no_place_in_a_stage() -> None:
    rollout = a_rollout(needs=("onnx", "tokenize"), plan=plan(1, "100%"))
    devices = {
        "bare": a_device("bare", runtimes=("onnx",)),
        "whole": a_device("whole", runtimes=("onnx", "tokenize")),
    }
    jobs = rules.enlist(rollout, devices.values()).jobs
    decisions = rules.decide(rollout, jobs, devices, NOW)
    assert Offer(device="whole") in decisions
    reason = "it has no tokenize"
    assert End(device="bare", state=JobState.REJECTED, reason=reason) in decisions


def test_the_next_stage_waits_for_every_job_and_the_soak() -> None:
    rollout = a_rollout(opened=(0,))
    waiting = Job(device="d1", group=0, stage=1)
    devices = fleet(2)
    for state, end, opens in [
        (JobState.IN_PROGRESS, None, False),
        (JobState.SUCCEEDED, NOW - 9, False),
        (JobState.SUCCEEDED, NOW - 10, True),
    ]:
        job = running_job(device="d0", state=state, ended=end)
        decisions = rules.decide(rollout, [job, waiting], devices, NOW)
        wanted = [Open(group=0, stage=1), Offer(device="d1")] if opens else []
        assert decisions == wanted


def test_a_paused_rollout_settles_and_stops_but_offers_nothing() -> None:
    jobs = [running_job(device="d0"), Job(device="d1", group=0, stage=0)]
    devices = fleet(2)
    devices["d0"] = a_device("d0", report=report(), reported=NOW)
    paused = a_rollout(opened=(0,), state=RolloutState.PAUSED)
    assert rules.decide(paused, jobs, devices, NOW) == [End(device="d0", state=JobState.SUCCEEDED)]


def test_a_stop_removes_what_was_not_offered() -> None:
    bad = outcome(Result.FAILED_ROLLBACK_COMPLETE)
    devices = fleet(3)
    devices["d0"] = a_device("d0", report=report(digest=OLD, outcome=bad), reported=NOW)
    jobs = [running_job(device="d0"), running_job(device="d1")]
    jobs += [Job(device="d2", group=0, stage=1)]
    assert rules.decide(a_rollout(opened=(0,)), jobs, devices, NOW) == [
        End(device="d0", state=JobState.FAILED, reason="FAILED_ROLLBACK_COMPLETE: worse"),
        End(device="d2", state=JobState.REMOVED, reason="the rollout stopped"),
        Stop(reason="1 of 1 executed jobs FAILED (100.0 %), limit 5 %"),
    ]


def test_a_rollout_finishes_when_the_last_job_of_the_last_stage_ended() -> None:
    jobs = ended(JobState.SUCCEEDED, 1)
    rollout = a_rollout(plan=plan("100%"), opened=(0,))
    assert rules.decide(rollout, jobs, fleet(1) | {"d": a_device()}, NOW) == [Finish()]


# what holds whatever happens


class World:
    """Applies decisions as the control plane does, and keeps what the invariants ask."""

    def __init__(self, sizes: tuple[int, int], seed: int) -> None:
        groups = tuple(Group(select=f"site={i}", stages=(1, "50%", "100%")) for i in range(2))
        abort = (Abort(of="FAILED", over=30), Abort(of="TIMED_OUT", over=40, min_executed=3))
        wanted = plan(groups=groups, abort=abort)
        self.rollout = a_rollout(id=seed, plan=wanted, opened=(-1, -1))
        self.devices = {
            f"{group}-{i}": a_device(f"{group}-{i}", labels={"site": str(group)})
            for group in range(2)
            for i in range(sizes[group])
        }
        jobs = rules.enlist(self.rollout, self.devices.values()).jobs
        self.jobs = {job.device: job for job in jobs}
        self.now = NOW
        self.stops = 0

    def tick(self) -> None:
        before = dict(self.jobs)
        jobs = list(self.jobs.values())
        for decision in rules.decide(self.rollout, jobs, self.devices, self.now):
            self.apply(decision, before)

    def apply(self, decision: rules.Decision, before: dict[str, Job]) -> None:
        match decision:
            case Offer(device=name):
                job = self.jobs[name]
                assert job.state is JobState.QUEUED
                assert self.rollout.state is RolloutState.RUNNING
                assert job.stage <= self.rollout.opened[job.group]  # never beyond the stage
                self.jobs[name] = replace(job, state=JobState.IN_PROGRESS, offered=self.now)
            case End(device=name, state=state):
                self.jobs[name] = replace(self.jobs[name], state=state, ended=self.now)
            case Open(group=group, stage=stage):
                self.check_advance(group, stage)
                opened = list(self.rollout.opened)
                assert stage == opened[group] + 1
                opened[group] = stage
                self.rollout = replace(self.rollout, opened=tuple(opened))
            case Stop():
                self.stops += 1
                self.rollout = replace(self.rollout, state=RolloutState.STOPPED)
                assert JobState.QUEUED not in {job.state for job in self.jobs.values()}
            case Finish():
                assert all(job.state in rules.ENDED for job in self.jobs.values())
                self.rollout = replace(self.rollout, state=RolloutState.FINISHED)
        del before

    def check_advance(self, group: int, stage: int) -> None:
        inside = [j for j in self.jobs.values() if j.group == group and j.stage < stage]
        assert all(job.state in rules.ENDED for job in inside)
        executed = [job for job in inside if job.executed]
        assert not executed or any(job.state is JobState.SUCCEEDED for job in executed)

    def say(self, name: str, what: str) -> None:
        said = {
            "runs": report(),
            "old": report(digest=OLD),
            "fails": report(
                digest=OLD,
                outcome=outcome(Result.FAILED_ROLLBACK_COMPLETE, rollout=self.rollout.id),
            ),
            "rejects": report(
                digest=OLD, outcome=outcome(Result.REJECTED, rollout=self.rollout.id)
            ),
        }[what]
        offered = self.jobs[name].offered is not None
        if what == "old" or offered:  # a device reports on an offer, never before one
            self.devices[name] = replace(
                self.devices[name], report=said, reported=self.now, changed=self.now
            )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([1.0, 11.0, 101.0])),
        st.tuples(st.integers(0, 7), st.sampled_from(["runs", "old", "fails", "rejects"])),
        st.tuples(st.integers(0, 7), st.sampled_from(["runs"])),
        st.tuples(st.sampled_from(["bar", "pause"]), st.integers(0, 7)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(sizes=st.tuples(st.integers(0, 4), st.integers(1, 4)), seed=st.integers(1, 99), steps=STEPS)
def test_whatever_devices_say_no_offer_is_beyond_its_stage_and_a_stop_is_final(
    sizes: tuple[int, int], seed: int, steps: list[tuple[Any, Any]]
) -> None:
    world = World(sizes, seed)
    names = sorted(world.devices)
    world.tick()
    for what, how in steps:
        was = world.rollout.state
        offered = {n for n, j in world.jobs.items() if j.offered is not None}
        if what == "wait":
            world.now += how
        elif what == "bar":
            name = names[how % len(names)]
            world.devices[name] = replace(world.devices[name], barred="on hold")
        elif what == "pause" and was in {RolloutState.RUNNING, RolloutState.PAUSED}:
            flip = {RolloutState.RUNNING: RolloutState.PAUSED}
            world.rollout = replace(world.rollout, state=flip.get(was, RolloutState.RUNNING))
        elif isinstance(what, int):
            world.say(names[what % len(names)], how)
        world.tick()
        if was in {RolloutState.STOPPED, RolloutState.FINISHED}:
            assert world.rollout.state is was
            assert offered == {n for n, j in world.jobs.items() if j.offered is not None}
    assert world.stops <= 1


@settings(max_examples=60, deadline=None)
@given(sizes=st.tuples(st.integers(0, 6), st.integers(1, 6)), seed=st.integers(1, 99))
def test_a_fleet_in_which_all_goes_well_finishes(sizes: tuple[int, int], seed: int) -> None:
    world = World(sizes, seed)
    for _ in range(12):
        world.tick()
        for name, job in world.jobs.items():
            if job.state is JobState.IN_PROGRESS:
                world.say(name, "runs")
        world.now += 11
    assert world.rollout.state is RolloutState.FINISHED
    assert {job.state for job in world.jobs.values()} == {JobState.SUCCEEDED}


def test_of_variants_that_need_different_things_a_device_must_have_what_one_needs() -> None:
    either = (("litert",), ("onnx", "tokenize"))
    rollout = a_rollout(needs=("onnx", "tokenize"), alternatives=either, plan=plan(1, "100%"))
    devices = {
        "bare": a_device("bare", runtimes=("onnx",)),
        "lite": a_device("lite", runtimes=("litert",)),
    }
    jobs = rules.enlist(rollout, devices.values()).jobs
    decisions = rules.decide(rollout, jobs, devices, NOW)
    assert Offer(device="lite") in decisions
    reason = "it has no litert or no tokenize"
    assert End(device="bare", state=JobState.REJECTED, reason=reason) in decisions
