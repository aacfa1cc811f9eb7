"""Updates of one device, from an offer to a slot in charge or back."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import pytest
from tests.agent.world import PLAN, SERVER, World, pictures

from edgeloop.agent import slots
from edgeloop.agent.transport import Reply
from edgeloop.agent.update import Update
from edgeloop.answers.label import Label
from edgeloop.errors import UnreachableError
from edgeloop.protocol.messages import Probation, ReleaseRef, RolloutPlan
from edgeloop.release.bundle import DeviceLimits
from edgeloop.types import Artifact

SOUTH = 90  # how much brighter that camera is


def installed(world: World, **about: object) -> tuple[Artifact, ReleaseRef]:
    """A device that runs release 1."""
    bundle = world.factory.bundle(**about)
    ref = world.factory.publish(bundle)
    world.plane.wish(ref)
    world.rest()
    world.plane.reports.clear()
    return bundle, ref


def good(world: World, against: Artifact, **about: object) -> Artifact:
    """A release that answers as the one before does, and says so."""
    profiles = {"clean": (0, 0.0), "south": (SOUTH, 0.0)}
    return world.factory.bundle(against=against, profiles=profiles, scale=0.012, **about)


def bad(world: World, against: Artifact) -> Artifact:
    """A release that is as good on clean inputs, and saturates on those of the south."""
    return world.factory.bundle(
        against=against, profiles={"clean": (0, 0.0)}, scale=0.012, ceiling=75
    )


def test_a_first_release_is_installed_and_answers(world: World) -> None:
    world.plane.wish(world.factory.publish(world.factory.bundle()))
    world.rest()
    last = world.plane.reports[-1]
    assert last["state"] == "committed"
    assert last["running"]["version"] == 1
    assert last["outcome"]["result"] == "SUCCESSFUL"
    assert last["answers_since_switch"] >= 20


def test_every_state_of_an_update_is_reported(world: World) -> None:
    world.plane.wish(world.factory.publish(world.factory.bundle()))
    world.rest()
    assert list(dict.fromkeys(world.states())) == [
        "downloading",
        "verifying",
        "installing",
        "trying",
        "probation",
        "committed",
    ]


def test_the_application_is_answered_by_the_old_slot_until_the_probation_passed(
    world: World,
) -> None:
    first, _ = installed(world)
    heard: list[tuple[str, int]] = []
    world.fleet.heard = lambda agent, answer, _: heard.append((agent.state, answer.version))
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.rest()
    assert world.plane.reports[-1]["state"] == "committed"
    versions = [version for _, version in heard]
    assert versions == sorted(versions)
    beside = [version for state, version in heard if state == "probation"]
    assert beside.count(1) >= 60


def test_a_probation_is_not_passed_before_its_population_of_inputs_is_known(world: World) -> None:
    first, _ = installed(world)
    plan = PLAN.model_copy(update={"probation": Probation(answers=20)})
    world.bright = SOUTH
    world.plane.wish(world.factory.publish(bad(world, first), plan), rollout=2)
    world.rest()
    assert world.plane.reports[-1]["state"] == "rolled back"


def test_a_release_that_is_worse_than_declared_goes_back(world: World) -> None:
    first, one = installed(world)
    world.bright = SOUTH
    world.plane.wish(world.factory.publish(bad(world, first)), rollout=2)
    world.rest()
    last = world.plane.reports[-1]
    assert last["state"] == "rolled back"
    assert last["running"] == one.model_dump()
    assert last["outcome"]["result"] == "FAILED_ROLLBACK_COMPLETE"
    assert last["outcome"]["reason"].startswith("disagreement ")
    assert last["outcome"]["reason"].endswith("on inputs like 'clean'")
    assert last["outcome"]["evidence"]["beside"]["disagreement"] > 0.2
    assert world.agent.answer({"image": pictures(5, 1)[0]}).version == 1


def test_the_same_release_passes_where_its_inputs_are_as_declared(world: World) -> None:
    first, _ = installed(world)
    world.plane.wish(world.factory.publish(bad(world, first)), rollout=2)
    world.rest()
    assert world.plane.reports[-1]["state"] == "committed"


def test_a_release_that_declares_how_much_it_differs_passes(world: World) -> None:
    first, _ = installed(world)
    world.bright = SOUTH
    bundle = world.factory.bundle(
        against=first, profiles={"clean": (0, 0.0), "south": (SOUTH, 1.0)}, mirrored=True
    )
    world.plane.wish(world.factory.publish(bundle), rollout=2)
    world.rest()
    assert world.plane.reports[-1]["outcome"]["result"] == "SUCCESSFUL"


def test_going_back_needs_no_network(world: World) -> None:
    first, one = installed(world)
    world.bright = SOUTH
    world.plane.wish(world.factory.publish(bad(world, first)), rollout=2)
    world.fleet.until(lambda: world.agent.state == "probation")
    world.plane.down = True
    world.fleet.until(lambda: world.agent.state == "rolled back")
    assert world.agent.report().running == one
    world.plane.down = False
    world.rest()
    assert world.plane.reports[-1]["outcome"]["result"] == "FAILED_ROLLBACK_COMPLETE"


def test_a_failed_release_is_tried_again_only_in_another_rollout(world: World) -> None:
    first, _ = installed(world)
    world.bright = SOUTH
    two = world.factory.publish(bad(world, first))
    world.plane.wish(two, rollout=2)
    world.rest()
    fetched = len(world.plane.fetched())
    for _ in range(5):
        world.fleet.step()
    assert world.agent.state == "rolled back"
    assert len(world.plane.fetched()) == fetched
    world.plane.wish(two, rollout=3)
    world.fleet.step(2)
    assert world.agent.state == "probation"


def test_without_network_the_device_answers_and_carries_on_later(world: World) -> None:
    installed(world)
    world.plane.down = True
    for _ in range(5):
        world.fleet.step()
    assert world.agent.answer({"image": pictures(5, 1)[0]}).result["label"] == "left"
    world.plane.down = False
    world.plane.reports.clear()
    world.fleet.until(lambda: bool(world.plane.reports))


def test_failures_in_a_row_are_asked_less_and_less_often(world: World) -> None:
    installed(world)
    world.plane.down = True
    waits = []
    for _ in range(6):
        waits.append(world.agent.tick())
        world.clock.sleep(waits[-1] + 0.001)
    assert waits[-1] > 8 * waits[1]


def test_a_download_that_breaks_off_is_resumed(world: World) -> None:
    bundle = world.factory.bundle()
    world.plane.wish(world.factory.publish(bundle))
    longest = max(bundle.layers, key=lambda layer: layer.size)
    path = f"/blobs/sha256/{longest.digest.removeprefix('sha256:')}"
    world.plane.spoil = lambda asked, data: data[:-5] if asked == path else data
    for _ in range(3):
        world.fleet.step()
    assert world.agent.state == "downloading"
    world.plane.spoil = lambda _, data: data
    world.rest()
    assert world.plane.reports[-1]["state"] == "committed"


def test_a_bundle_with_a_changed_byte_is_not_installed(world: World) -> None:
    first, one = installed(world)
    bundle = good(world, first)
    graph = next(layer for layer in bundle.layers if layer.name == "model.onnx")
    path = f"/blobs/sha256/{graph.digest.removeprefix('sha256:')}"
    world.plane.spoil = lambda asked, data: data[:-1] + b"!" if asked == path else data
    world.plane.wish(world.factory.publish(bundle), rollout=2)
    world.rest()
    last = world.plane.reports[-1]
    assert last["state"] == "failed"
    assert last["running"] == one.model_dump()
    assert last["outcome"]["result"] == "FAILED_NO_STATE_CHANGE"
    head, _, rest = last["outcome"]["reason"].partition(", got sha256:")
    assert head == (f"[E202] blob {graph.digest} must have that digest and {graph.size} bytes")
    assert rest[64:] == (
        f" and {graph.size} bytes. It is not installed; the device keeps the slot that it has"
    )


def test_metadata_by_another_key_changes_nothing_and_the_update_goes_on_without_it(
    world: World,
) -> None:
    first, one = installed(world)
    two, ours = world.factory.publish(good(world, first)), world.factory
    other = type(ours)(ours.folder / "other")
    evil = other.bundle(scale=0.05)
    other.publish(evil)
    world.plane._factory = other
    world.plane.wish(two, rollout=2)
    world.fleet.step(10)
    last = world.plane.reports[-1]
    assert last["state"] == "idle"
    assert last["running"] == one.model_dump()
    assert last["outcome"]["reason"].startswith("[E401] signed metadata of channel 'stable'")
    assert last["outcome"]["rollout"] is None  # so that its rollout waits for it
    assert not [path for path in world.plane.fetched() if evil.digest[7:] in path]
    world.plane._factory = ours
    world.rest()
    assert world.plane.reports[-1]["running"] == two.model_dump()


def test_a_release_that_is_not_on_the_signed_list_is_rejected(world: World) -> None:
    first, _ = installed(world)
    two = world.factory.publish(good(world, first))
    world.factory.repository.delist("sorter", "stable", 2)
    world.plane.wish(two, rollout=2)
    world.rest()
    outcome = world.plane.reports[-1]["outcome"]
    assert outcome["result"] == "REJECTED"
    assert outcome["reason"] == (
        "[E403] release 2 of stable/sorter must be on the channel's signed list, got bundle "
        f"{two.digest}. It was delisted, or never signed; the device keeps the slot that it has"
    )


def test_a_release_below_the_floor_is_rejected(world: World) -> None:
    first, one = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.rest()
    world.factory.repository.set_floor("sorter", "stable", 2)
    world.plane.wish(one, rollout=3)
    world.fleet.until(lambda: world.plane.reports[-1]["outcome"]["rollout"] == 3)
    outcome = world.plane.reports[-1]["outcome"]
    assert (outcome["result"], outcome["reason"]) == (
        "REJECTED",
        "[E403] release 1 of stable/sorter must be 2 or newer, the channel's floor",
    )


def test_a_release_for_other_devices_is_rejected_before_a_blob_is_fetched(world: World) -> None:
    world.plane.wish(world.factory.publish(world.factory.bundle(), targets=("rtos-m4",)))
    world.rest()
    outcome = world.plane.reports[-1]["outcome"]
    here = world.agent.settings.target
    assert outcome["result"] == "REJECTED"
    assert outcome["reason"] == (
        f"[E502] release 1 was not admitted, got target: this device is {here}, "
        "the release is for rtos-m4"
    )
    assert world.plane.fetched() == []


def test_a_bundle_for_a_runtime_that_is_not_here_is_rejected(world: World) -> None:
    world.plane.wish(world.factory.publish(world.factory.bundle(runtime="abacus")))
    world.rest()
    outcome = world.plane.reports[-1]["outcome"]
    assert outcome["result"] == "REJECTED"
    assert "runtime: needs abacus, this device has" in outcome["reason"]
    assert world.plane.fetched() == []


def test_a_bundle_whose_golden_samples_answer_otherwise_is_not_tried(world: World) -> None:
    first, one = installed(world)
    two = world.factory.publish(good(world, first, golden_shift=0.2))
    world.plane.wish(two, rollout=2)
    world.rest()
    last = world.plane.reports[-1]
    assert last["running"] == one.model_dump()
    assert last["outcome"]["result"] == "FAILED_NO_STATE_CHANGE"
    assert (
        "golden_parity: 0.000 of 8 golden samples, limit >= 1 within 0.01"
        in (last["outcome"]["reason"])
    )


def test_a_slot_above_its_latency_limit_is_not_tried(world: World) -> None:
    world.plane.wish(
        world.factory.publish(world.factory.bundle(limits=DeviceLimits(latency_ms=0.5)))
    )
    world.rest()
    outcome = world.plane.reports[-1]["outcome"]
    assert outcome["result"] == "FAILED_NO_STATE_CHANGE"
    assert outcome["reason"] == (
        "[E502] release 1 was not admitted, got latency_p95: p95 1.00 ms is above the limit 0.5 ms"
    )


def test_a_release_that_is_withdrawn_leaves_the_old_one(world: World) -> None:
    first, one = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.fleet.until(lambda: world.agent.state == "probation")
    world.plane.wish(one, rollout=1)
    world.fleet.step(2)
    assert world.agent.state == "idle"
    assert world.agent.report().running == one
    assert world.agent.report().trying is None


def test_the_release_before_comes_back_by_hand_without_a_download(world: World) -> None:
    first, one = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.rest()
    fetched = len(world.plane.fetched())
    world.plane.wish(one, rollout=3)
    world.fleet.until(lambda: world.plane.reports[-1]["outcome"]["rollout"] == 3)
    last = world.plane.reports[-1]
    assert (last["state"], last["running"]["version"]) == ("committed", 1)
    assert len(world.plane.fetched()) == fetched


def test_only_what_is_new_is_fetched(world: World) -> None:
    first, _ = installed(world)
    before = set(world.plane.fetched())
    two = good(world, first)
    world.plane.wish(world.factory.publish(two), rollout=2)
    world.rest()
    again = [path for path in world.plane.fetched() if path in before]
    assert len(again) == len(before)


@pytest.mark.parametrize(
    "state", ["syncing", "downloading", "verifying", "installing", "trying", "probation"]
)
def test_a_power_cut_in_any_state_leaves_the_old_slot_in_charge_and_the_update_goes_on(
    world: World, state: str
) -> None:
    first, one = installed(world)
    two = world.factory.publish(good(world, first))
    world.plane.wish(two, rollout=2)
    world.clock.sleep(2)
    if state == "syncing":
        world.plane.spoil = lambda path, data: b"" if path.startswith("/tuf/") else data
        world.agent._update.consider(world.plane.desired)
    for _ in range(20):
        if world.agent.state == state:
            break
        world.agent.tick()
    assert world.agent.state == state
    world.fleet.cut_power("d1")
    world.plane.spoil = lambda _, data: data
    world.fleet.start("d1")
    assert world.agent.report().running == one
    assert world.agent.answer({"image": pictures(5, 1)[0]}).version == 1
    world.rest()
    assert world.agent.report().running == two


def test_a_power_cut_after_the_switch_goes_back_and_tries_again(world: World) -> None:
    first, one = installed(world)
    two = world.factory.publish(good(world, first), PLAN.model_copy(update={"min_answers": 500}))
    world.plane.wish(two, rollout=2)
    world.fleet.until(lambda: world.agent.report().running == two)
    assert world.agent.state == "probation"
    world.fleet.cut_power("d1")
    world.fleet.start("d1")
    assert world.agent.report().running == one
    world.rest()
    assert world.agent.report().running == two


def test_a_slot_that_ends_the_process_three_times_is_not_tried_a_fourth_time(
    world: World,
) -> None:
    first, one = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    for _ in range(3):
        world.fleet.until(lambda: world.agent.state == "probation")
        world.fleet.cut_power("d1")
        world.fleet.start("d1")
    assert world.agent.state == "rolled back"
    assert world.agent.report().running == one
    outcome = world.agent.report().outcome
    assert outcome is not None
    assert outcome.reason == "did not come to an end in 3 starts"


def test_a_clean_end_does_not_count_as_one_of_the_three(world: World) -> None:
    first, _ = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    for _ in range(4):
        world.fleet.until(lambda: world.agent.state == "probation")
        world.fleet.agents.pop("d1").close()
        world.fleet.start("d1")
    world.rest()
    assert world.agent.report().outcome.result == "SUCCESSFUL"


def test_a_slot_whose_bytes_changed_gives_way_to_the_one_before_and_is_fetched_again(
    world: World,
) -> None:
    first, _ = installed(world)
    two = world.factory.publish(good(world, first))
    world.plane.wish(two, rollout=2)
    world.rest()
    world.fleet.agents.pop("d1").close()
    folder = world.fleet._folder / "d1" / "slots" / two.digest.removeprefix("sha256:")
    graph = folder / "files" / "model.onnx"
    graph.chmod(0o644)
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    world.fleet.start("d1")
    assert world.agent.answer({"image": pictures(5, 1)[0]}).version == 1
    outcome = world.agent.report().outcome
    assert outcome is not None
    assert outcome.reason.startswith(f"[E404] file model.onnx of bundle {two.digest} must have")
    world.fleet.until(lambda: world.agent.report().running == two)


def test_a_new_slot_that_fails_in_charge_is_stood_in_for_and_goes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, one = installed(world)
    plan = PLAN.model_copy(update={"min_answers": 40})
    two = world.factory.publish(good(world, first), plan)
    world.plane.wish(two, rollout=2)
    world.fleet.until(lambda: world.agent.report().running == two)

    def broken(_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(world.agent.slot().session, "run", broken)
    answer = world.agent.answer({"image": pictures(5, 1)[0]})
    assert answer.version == 1
    world.rest()
    assert world.agent.report().running == one
    assert world.plane.reports[-1]["outcome"]["reason"].startswith("error share ")


def test_whatever_the_agent_does_wrong_it_goes_back_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, one = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.fleet.until(lambda: world.agent.state == "probation")

    def fault(_: Update) -> None:
        raise ZeroDivisionError("division by zero")

    with monkeypatch.context() as patch:
        patch.setattr(Update, "step", fault)
        world.agent.tick()
    assert world.agent.state == "rolled back"
    world.rest()
    assert world.plane.reports[-1]["running"] == one.model_dump()
    assert world.plane.reports[-1]["outcome"]["reason"] == (
        "agent fault: ZeroDivisionError: division by zero"
    )


def test_after_an_update_only_two_slots_and_their_blobs_stay(world: World, tmp_path: Path) -> None:
    before, _ = installed(world)
    for number, scale in enumerate((0.013, 0.014), start=2):
        before = world.factory.bundle(against=before, scale=scale)
        world.plane.wish(world.factory.publish(before), rollout=number)
        world.fleet.until(lambda n=number: world.agent.report().running.version == n)
        world.rest()
    folder = tmp_path / "fleet" / "d1"
    assert len(list((folder / "slots").iterdir())) == 2
    needed = {path.stat().st_ino for path in (folder / "slots").glob("*/files/*")}
    assert {path.stat().st_ino for path in (folder / "blobs").iterdir()} == needed


def test_an_unchanged_wish_is_answered_with_304(world: World) -> None:
    installed(world)
    world.plane.calls.clear()
    for _ in range(4):
        world.fleet.step(1.2)
    asked = [status for _, path, status in world.plane.calls if path == "/v1/desired"]
    assert len(asked) == 4
    assert set(asked) == {304}


def test_a_plan_without_min_answers_commits_at_once(world: World) -> None:
    world.per_step = 0
    world.plane.wish(world.factory.publish(world.factory.bundle(), RolloutPlan(min_answers=0)))
    world.rest()
    assert world.plane.reports[-1]["state"] == "committed"


def test_the_server_is_asked_where_the_settings_say(world: World) -> None:
    assert world.agent.settings.server == SERVER
    assert world.agent.settings.repository_url == f"{SERVER}/tuf"


def test_a_control_plane_that_hangs_keeps_no_bad_slot_on_trial(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, one = installed(world)
    world.bright = SOUTH
    world.plane.wish(world.factory.publish(bad(world, first)), rollout=2)
    world.fleet.until(lambda: world.agent.state == "probation")
    stop, entered, freed = threading.Event(), threading.Event(), threading.Event()

    def hang(*_: object) -> Reply:
        entered.set()
        freed.wait(60)
        raise UnreachableError(SERVER, "must answer")

    monkeypatch.setattr(world.plane, "send", hang)
    world.clock.sleep(100)
    thread = threading.Thread(target=world.agent.run, args=(stop,))
    thread.start()
    try:
        assert entered.wait(20)
        for _ in range(1000):
            for inputs, _ in world.traffic(world.agent):
                world.agent.answer(inputs)
            if world.agent.state == "rolled back":
                break
            time.sleep(0.01)
        assert not freed.is_set()
        assert world.agent.report().running == one
        assert world.agent.state == "rolled back"
    finally:
        stop.set()
        freed.set()
        thread.join()


def test_inputs_that_cannot_be_sketched_are_held_against_the_base_population(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = installed(world)
    monkeypatch.setattr("edgeloop.agent.probation.nearest", lambda *_: None)
    bundle = world.factory.bundle(against=first, profiles={"clean": (0, 0.0)}, mirrored=True)
    world.plane.wish(world.factory.publish(bundle), rollout=2)
    world.rest()
    assert world.plane.reports[-1]["state"] == "rolled back"
    assert world.plane.reports[-1]["outcome"]["reason"].endswith("on inputs like 'clean'")


def test_answers_that_cannot_be_compared_are_errors_of_the_new_slot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def incomparable(*_: object) -> None:
        raise KeyError("probabilities")

    first, _ = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    monkeypatch.setattr(Label, "disagreement", incomparable)
    world.rest()
    assert world.plane.reports[-1]["state"] == "rolled back"
    assert world.plane.reports[-1]["outcome"]["reason"] == (
        "error share 1.000 is above the limit 0.010"
    )


def test_answers_that_cannot_be_sketched_end_the_probation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlike(_: object) -> None:
        raise ValueError("unlike shapes")

    first, _ = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    monkeypatch.setattr("edgeloop.agent.probation._stacked", unlike)
    world.rest()
    assert world.plane.reports[-1]["state"] == "rolled back"
    assert world.plane.reports[-1]["outcome"]["reason"] == (
        "its answers cannot be sketched: ValueError: unlike shapes"
    )


def test_the_thread_that_judges_outlives_a_fault_and_goes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, one = installed(world)
    world.plane.wish(world.factory.publish(good(world, first)), rollout=2)
    world.fleet.until(lambda: world.agent.state == "probation")
    stop = threading.Event()

    def fault(_: Update) -> None:
        stop.set()
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Update, "step", fault)
    world.agent._work(stop)
    assert world.agent.state == "rolled back"
    assert world.agent.report().running == one


def test_a_current_slot_that_the_disk_cannot_read_gives_way_to_the_one_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, one = installed(world)
    two = world.factory.publish(good(world, first))
    world.plane.wish(two, rollout=2)
    world.rest()
    world.fleet.cut_power("d1")
    whole = slots._digest

    def unreadable(path: Path) -> str:
        if two.digest.removeprefix("sha256:") in str(path):
            raise OSError(errno.EIO, "Input/output error")
        return whole(path)

    monkeypatch.setattr(slots, "_digest", unreadable)
    agent = world.fleet.start("d1")
    assert agent.report().running == one
    assert agent.answer({"image": pictures(5, 1)[0]}).version == 1
