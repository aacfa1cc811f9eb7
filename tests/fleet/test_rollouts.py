"""Rollouts from the operator's call to the devices' reports, over HTTP."""

from __future__ import annotations

import pytest
from fleet_bench import Bench, Device, plan, ref
from sqlalchemy.orm import Session

from edgeloop.errors import ConflictError, NotFoundError, NotListedError, ProtocolError
from edgeloop.fleet import conduct
from edgeloop.fleet.models import RolloutRow
from edgeloop.fleet.verbs import MOVES, Verb, move
from edgeloop.protocol.messages import Group, RolloutState

GROUPS = (Group(select="site=north"), Group(select="site=south"))


def sites(bench: Bench, each: int = 4) -> dict[str, Device]:
    return {
        f"{site}-{i}": bench.device(f"{site}-{i}", site=site)
        for site in ("north", "south")
        for i in range(each)
    }


def offered(bench: Bench, rollout: int) -> list[str]:
    return [name for name, state in bench.states(rollout).items() if state == "IN_PROGRESS"]


def test_a_release_goes_out_stage_by_stage_in_both_groups(bench: Bench) -> None:
    devices = sites(bench)
    bench.list_release(1, plan(*GROUPS))
    rollout = bench.go(1)
    sizes = []
    while bench.operator.rollout(rollout).state == "running":
        now = offered(bench, rollout)
        sizes.append(sorted(name.split("-")[0] for name in now))
        for name in now:
            assert devices[name].desired().json()["release"] == ref(1).model_dump()
            devices[name].runs(1)
        bench.tick(11)
    one = ["north", "south"]
    assert sizes == [one, one, ["north"] * 2 + ["south"] * 2]
    view = bench.operator.rollout(rollout)
    assert (view.state, view.counts, view.opened) == ("finished", {"SUCCEEDED": 8}, (2, 2))
    assert bench.actions("rollout") == [
        "rollout.created",
        "rollout.started",
        *["rollout.stage"] * 6,
        "rollout.finished",
    ]
    assert (bench.actions("job").count("job.offered"), len(bench.actions("job"))) == (8, 16)


def test_devices_of_later_stages_hear_nothing_of_it_yet(bench: Bench) -> None:
    devices = sites(bench)
    bench.list_release(1, plan(*GROUPS))
    rollout = bench.go(1)
    for name, device in devices.items():
        release = device.desired().json()["release"]
        assert (release is not None) == (name in offered(bench, rollout))


def test_a_group_waits_for_its_soak(bench: Bench) -> None:
    devices = sites(bench)
    bench.list_release(1, plan(*GROUPS))
    rollout = bench.go(1)
    (north, south) = sorted(offered(bench, rollout))
    devices[north].runs(1)
    bench.tick(9.5)
    assert offered(bench, rollout) == [south]
    bench.tick(0.6)
    assert bench.operator.rollout(rollout).opened == (1, 0)


def test_a_bad_release_stops_and_the_others_never_hear_of_it(bench: Bench) -> None:
    devices = sites(bench)
    bench.list_release(1, plan(Group(select="all", stages=("100%",)), soak_seconds=0))
    bench.go(1)
    for device in devices.values():
        device.runs(1)
    bench.list_release(2, plan(*GROUPS))
    rollout = bench.go(2)
    north, south = sorted(offered(bench, rollout))
    devices[south].fails(2, rollout)
    view = bench.operator.rollout(rollout)
    assert (view.state, view.reason) == (
        "stopped",
        "1 of 1 executed jobs FAILED (100.0 %), limit 5 %",
    )
    assert view.counts == {"FAILED": 1, "IN_PROGRESS": 1, "REMOVED": 6}
    assert devices[south].desired().json()["release"]["version"] == 1
    assert devices[north].desired().json()["release"]["version"] == 2
    failed = next(job for job in view.jobs if job.state == "FAILED")
    assert failed.reason == (
        "FAILED_ROLLBACK_COMPLETE: disagreement 0.400 is above the limit 0.080"
    )
    assert failed.evidence == {"disagreement": 0.4}
    last = [line for line in bench.operator.audit() if line.action == "rollout.stopped"]
    assert (last[0].actor, last[0].detail["reason"]) == ("rules", view.reason)
    devices[north].runs(2)  # what was offered goes on to its end
    assert bench.states(rollout)[north] == "SUCCEEDED"


def test_a_silent_device_is_timed_out_by_the_tick(bench: Bench) -> None:
    bench.device("cam-1")
    bench.list_release(1)
    rollout = bench.go(1)
    bench.tick(101)
    view = bench.operator.rollout(rollout)
    assert (view.state, view.jobs[0].state) == ("stopped", "TIMED_OUT")
    assert view.jobs[0].reason == ("nothing new from the device for 101 s, deadline 100 s")
    assert view.reason == "group all ended stage 1 without a success"


def test_a_device_of_another_target_is_rejected_unasked(bench: Bench) -> None:
    bench.device("cam-1")
    arm = Device(bench, "arm-1")
    arm.enrol(bench.operator.create_token().token, target="linux-arm64")
    bench.list_release(1, plan(soak_seconds=0), targets=("linux-x86",))
    rollout = bench.go(1)
    assert bench.states(rollout) == {"cam-1": "IN_PROGRESS", "arm-1": "REJECTED"}
    assert arm.desired().json()["release"] is None


def test_held_pinned_and_decommissioned_devices_are_skipped_and_it_is_said(bench: Bench) -> None:
    for name in ("held", "pinned", "gone", "free"):
        bench.device(name)
    bench.list_release(1)
    bench.list_release(2)
    bench.operator.hold("held")
    bench.operator.pin("pinned", "sorter", "stable", 1)
    bench.operator.decommission("gone")
    rollout = bench.go(2)
    assert bench.states(rollout) == {"free": "IN_PROGRESS"}
    names = {view.id: view.name for view in bench.operator.devices()}
    skipped = {
        names[line.subject.removeprefix("device:")]: line.detail["reason"]
        for line in bench.operator.audit()
        if line.action == "device.skipped"
    }
    assert skipped == {
        "held": "device is on hold",
        "pinned": "device is pinned to release 1",
        "gone": "device is decommissioned",
    }


def test_a_device_that_is_held_before_its_turn_is_removed_at_its_turn(bench: Bench) -> None:
    devices = sites(bench, each=2)
    bench.list_release(1, plan(Group(select="all", stages=(1, "100%")), soak_seconds=0))
    rollout = bench.go(1)
    (first,) = offered(bench, rollout)
    late = next(name for name in devices if name != first)
    bench.operator.hold(late)
    devices[first].runs(1)
    job = next(j for j in bench.operator.rollout(rollout).jobs if j.device_name == late)
    assert (job.state, job.reason) == ("REMOVED", "device is on hold")
    bench.operator.release_hold(late)
    assert bench.operator.device(late).hold is False


def test_a_pin_overrides_rollouts_until_it_is_taken_away(bench: Bench) -> None:
    device = bench.device("cam-1")
    bench.list_release(1)
    bench.list_release(2, plan(soak_seconds=0))
    rollout = bench.go(2)
    assert bench.operator.pin("cam-1", "sorter", "stable", 1).pinned == ref(1)
    assert device.desired().json()["release"]["version"] == 1
    assert bench.states(rollout) == {"cam-1": "REMOVED"}
    bench.operator.unpin("cam-1")
    assert device.desired().json()["release"] is None


def test_only_what_is_signed_can_be_pinned_or_rolled_out(bench: Bench) -> None:
    bench.device("cam-1")
    bench.list_release(1)
    bench.list_release(2)
    bench.floor = 2
    text = (
        "[E403] release 1 of sorter must be on the signed list of channel stable. "
        "Listed, and not below floor 2: 2"
    )
    with pytest.raises(NotListedError) as caught:
        bench.operator.pin("cam-1", "sorter", "stable", 1)
    assert str(caught.value) == text
    with pytest.raises(NotListedError) as caught:
        bench.go(1)
    assert str(caught.value) == text


def test_one_rollout_of_a_channel_at_a_time(bench: Bench) -> None:
    bench.device("cam-1")
    bench.list_release(1)
    bench.list_release(2)
    first = bench.go(1)
    with pytest.raises(ConflictError) as caught:
        bench.go(2)
    assert str(caught.value) == (
        "[E604] rollout 2 of sorter on channel stable must be the only one that is running or "
        "paused, got rollout 1. Wait until rollout 1 is finished, or stop it"
    )
    assert [view.id for view in bench.operator.rollouts()] == [first]  # nothing half-done stays
    bench.operator.pause(first)
    draft = bench.go(2, start=False)
    with pytest.raises(ConflictError):
        bench.operator.start(draft)
    bench.operator.stop(first, "not today")
    assert bench.operator.rollout(first).reason == "not today"
    assert bench.operator.start(draft).state == "running"


def test_a_rollout_that_selects_nobody_is_refused(bench: Bench) -> None:
    bench.device("cam-1", site="north")
    bench.operator.hold("cam-1")
    bench.list_release(1, plan(*GROUPS))
    with pytest.raises(ConflictError) as caught:
        bench.go(1)
    device = bench.operator.device("cam-1").id
    assert str(caught.value) == (
        "[E604] rollout 1 must select a device of stable/sorter by its groups "
        f"(site=north, site=south), got 0; {device} is on hold"
    )


def test_a_paused_rollout_offers_nothing_until_it_is_resumed(bench: Bench) -> None:
    devices = sites(bench, each=1)
    bench.list_release(1, plan(Group(select="all", stages=(1, 2)), soak_seconds=0))
    rollout = bench.go(1)
    (first,) = offered(bench, rollout)
    bench.operator.pause(rollout)
    devices[first].runs(1)
    bench.tick(50)
    assert offered(bench, rollout) == []
    bench.operator.resume(rollout)
    assert len(offered(bench, rollout)) == 1
    assert bench.actions("rollout")[-3:] == ["rollout.paused", "rollout.resumed", "rollout.stage"]


def test_an_operator_brings_a_group_back_by_hand(bench: Bench) -> None:
    devices = sites(bench, each=1)
    for version in (1, 2):
        bench.list_release(version, plan(Group(select="all", stages=("100%",)), soak_seconds=0))
        bench.go(version)
        for device in devices.values():
            device.runs(version)
    back = bench.operator.roll_back(2, version=1, select="site=south")
    assert (back.id, back.version, back.state) == (3, 1, "running")
    assert [group.select for group in back.plan.groups] == ["site=south"]
    assert bench.operator.rollout(2).state == "rolled back"
    assert devices["south-0"].desired().json()["release"]["version"] == 1
    assert devices["north-0"].desired().json()["release"]["version"] == 2
    devices["south-0"].runs(1)
    assert bench.operator.rollout(3).state == "finished"
    assert bench.actions("rollout.rolled_back") == ["rollout.rolled_back"]


def test_a_running_rollout_can_be_rolled_back_at_once(bench: Bench) -> None:
    devices = sites(bench, each=2)
    bench.list_release(1, plan(Group(select="all", stages=("100%",)), soak_seconds=0))
    bench.go(1)
    for device in devices.values():
        device.runs(1)
    bench.list_release(2)
    second = bench.go(2)
    bench.clock.sleep(1)
    back = bench.operator.roll_back(second, version=1)
    assert bench.operator.rollout(second).counts == {"REMOVED": 4}
    assert back.counts == {"IN_PROGRESS": 4}


def test_back_to_a_delisted_release_is_refused_and_changes_nothing(bench: Bench) -> None:
    bench.device("cam-1")
    bench.list_release(2)
    rollout = bench.go(2)
    with pytest.raises(NotListedError):
        bench.operator.roll_back(rollout, version=1)
    assert bench.operator.rollout(rollout).state == "running"


def test_what_the_table_of_verbs_does_not_have_is_refused(bench: Bench) -> None:
    bench.device("cam-1")
    bench.list_release(1)
    rollout = bench.go(1)
    with pytest.raises(ConflictError) as caught:
        bench.operator.resume(rollout)
    assert str(caught.value) == "[E604] resume of rollout 1 needs it to be paused, got running"
    bench.operator.stop(rollout)
    with pytest.raises(ConflictError) as caught:
        bench.operator.stop(rollout)
    assert str(caught.value) == (
        "[E604] stop of rollout 1 needs it to be draft, running, paused, got stopped"
    )


def test_stopped_and_rolled_back_and_finished_are_ends() -> None:
    ends = {RolloutState.STOPPED, RolloutState.ROLLED_BACK, RolloutState.FINISHED}
    for (state, verb), after in MOVES.items():
        assert state not in ends or (verb, after) == (Verb.ROLL_BACK, RolloutState.ROLLED_BACK)
    with pytest.raises(ConflictError):
        move(1, RolloutState.ROLLED_BACK, Verb.ROLL_BACK)


def test_a_newer_offer_takes_the_place_of_one_that_did_not_end(bench: Bench) -> None:
    device = bench.device("cam-1")
    bench.list_release(1)
    bench.list_release(2)
    first = bench.go(1)
    bench.operator.stop(first)
    assert bench.states(first) == {"cam-1": "IN_PROGRESS"}
    second = bench.go(2)
    job = bench.operator.rollout(first).jobs[0]
    assert (job.state, job.reason) == ("REMOVED", f"rollout {second} took its place")
    assert device.desired().json()["release"]["version"] == 2


def test_an_operators_stop_removes_what_was_not_offered(bench: Bench) -> None:
    sites(bench, each=1)
    bench.list_release(1, plan(Group(select="all", stages=(1, 2))))
    rollout = bench.go(1)
    view = bench.operator.stop(rollout)
    assert (view.state, view.reason) == ("stopped", "stopped by operator:first")
    assert view.counts == {"IN_PROGRESS": 1, "REMOVED": 1}
    bench.tick(1000)
    assert bench.operator.rollout(rollout).state == "stopped"


def test_an_unknown_rollout_is_said(bench: Bench) -> None:
    with pytest.raises(NotFoundError) as caught:
        bench.operator.rollout(9)
    assert str(caught.value) == "[E603] rollout 9 must be one that was made here"


def test_a_killed_control_plane_goes_on_where_it_was(bench: Bench) -> None:
    devices = sites(bench)
    bench.list_release(1, plan(*GROUPS))
    rollout = bench.go(1)
    north, south = sorted(offered(bench, rollout))
    devices[north].runs(1)
    before = bench.operator.rollout(rollout)
    bench.restart()
    assert bench.operator.rollout(rollout) == before
    devices[south].runs(1)
    bench.tick(11)
    assert bench.operator.rollout(rollout).opened == (1, 1)


def test_a_device_that_slept_through_a_rollback_does_not_go_back_to_the_bad_release(
    bench: Bench,
) -> None:
    devices = {name: bench.device(name) for name in ("a", "b", "sleeper")}
    everybody = plan(Group(select="all", stages=("100%",)), soak_seconds=0)
    for version in (1, 2):
        bench.list_release(version, everybody)
        bench.go(version)
        for device in devices.values():
            device.runs(version)
    back = bench.operator.roll_back(2, version=1).id
    devices["a"].runs(1)
    devices["b"].runs(1)
    bench.tick(101)
    assert bench.states(back)["sleeper"] == "TIMED_OUT"
    wish = devices["sleeper"].desired().json()
    assert (wish["release"]["version"], wish["rollout"]) == (1, back)


def test_a_device_that_slept_through_a_rollout_stays_what_it_was(bench: Bench) -> None:
    device = bench.device("cam-1")
    for version in (1, 2):
        bench.list_release(version, plan(soak_seconds=0))
    bench.go(1)
    device.runs(1)
    bench.go(2)
    bench.tick(101)
    assert device.desired().json()["release"]["version"] == 1


def test_a_rollback_of_a_broken_selector_is_refused_and_changes_nothing(bench: Bench) -> None:
    bench.device("cam-1")
    bench.list_release(1)
    rollout = bench.go(1)
    with pytest.raises(ProtocolError) as caught:
        bench.operator.roll_back(rollout, version=1, select="south!!")
    assert str(caught.value) == (
        "[E606] selector must be `all`, or label=value joined by commas, got 'south!!'"
    )
    assert bench.operator.rollout(rollout).state == "running"


def test_a_report_that_decides_nothing_looks_at_no_other_device(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = bench.device("cam-1")
    bench.device("cam-2")
    bench.list_release(1, plan(Group(select="all", stages=("100%",))))
    rollout = bench.go(1)
    looked: list[int] = []
    advance = conduct.advance

    def counted(session: Session, row: RolloutRow, now: float) -> int:
        looked.append(row.id)
        return advance(session, row, now)

    monkeypatch.setattr(conduct, "advance", counted)
    device.report(state="downloading")
    device.runs(1, answers=19)
    assert looked == []
    device.runs(1, answers=20)
    device.runs(1, answers=21)
    assert looked == [rollout]
    assert bench.states(rollout) == {"cam-1": "SUCCEEDED", "cam-2": "IN_PROGRESS"}
