"""A device that keeps failing rests: when, from what, and how long."""

from __future__ import annotations

from pathlib import Path

from edgeloop.agent.reckoning import Reckoning
from edgeloop.agent.restraint import Restraint
from edgeloop.agent.rests import LONGEST_SECONDS, Record, Rest
from edgeloop.agent.states import Ledger
from edgeloop.protocol.messages import Desired, ReleaseRef
from edgeloop.testing.clock import FakeClock

ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
DAY = 86_400.0


def failed(*times: float, digest: str = ONE, record: Record | None = None) -> Record:
    record = record or Record()
    for at in times:
        record = record.failed(digest, 4, at)
    return record


def test_two_failures_are_no_reason_to_rest() -> None:
    assert failed(0, DAY).rest is None


def test_a_bundle_that_failed_three_times_rests_and_others_do_not() -> None:
    record = failed(0, DAY, 2 * DAY)
    assert record.rest == Rest(
        digest=ONE, reason="release 4 failed 3 times", began=2 * DAY, seconds=900
    )
    now = 2 * DAY + 899
    assert (record.bars(ONE, now), record.bars(OTHER, now)) == (True, False)
    assert not record.bars(ONE, now + 1)


def test_five_failures_within_180_s_are_a_rest_from_everything() -> None:
    record = Record()
    for number in range(5):
        record = record.failed(f"sha256:{number:064d}", number, 1000 + 45 * number)
    assert record.rest == Rest(
        digest=None, reason="5 updates failed within 180 s", began=1180, seconds=900
    )
    assert record.bars(ONE, 1181)


def test_five_failures_within_181_s_are_none() -> None:
    record = Record()
    for number, at in enumerate((0, 45, 90, 135, 181)):
        record = record.failed(f"sha256:{number:064d}", number, at)
    assert record.rest is None


def test_each_rest_is_twice_as_long_up_to_a_day() -> None:
    record, seconds = Record(), []
    for number in range(12):
        record = failed(number * 2 * DAY, record=record)
        seconds.append(record.rest.seconds if record.rest else 0)
    assert seconds[:5] == [0, 0, 900, 1800, 3600]
    assert seconds[-1] == LONGEST_SECONDS


def test_failures_on_five_days_of_a_clock_that_begins_anew_are_not_near_each_other() -> None:
    record = Record()
    for day in range(5):  # each power-on begins at the same time
        clock = FakeClock(DAY)
        reckoning = Reckoning(clock)
        clock.sleep(60)
        record = record.failed(f"sha256:{day:064d}", day, reckoning.now(record))
    assert record.rest is None


def test_a_clock_that_is_put_back_ends_no_rest_and_lengthens_none() -> None:
    clock = FakeClock(10 * DAY)
    reckoning, record = Reckoning(clock), failed(10 * DAY, 10 * DAY, 10 * DAY)
    assert record.bars(ONE, reckoning.now(record))
    clock.jump(-9 * DAY)
    clock.sleep(899)
    assert record.bars(ONE, reckoning.now(record))
    clock.sleep(1)
    assert not record.bars(ONE, reckoning.now(record))


def test_a_clock_that_is_set_right_is_believed() -> None:
    clock = FakeClock(0)
    reckoning, record = Reckoning(clock), failed(60, 60, 60)
    clock.jump(10 * DAY)
    assert reckoning.now(record) == 10 * DAY


def test_a_rest_passes_while_the_device_is_powered_a_few_minutes_a_day(tmp_path: Path) -> None:
    Ledger(tmp_path / "progress.json").note(record=failed(DAY, DAY, DAY))
    ref = ReleaseRef(name="sorter", channel="stable", version=4, digest=ONE)
    wish, allowed = Desired(release=ref, rollout=1, poll_seconds=30), []
    for _ in range(3):
        clock = FakeClock(DAY)
        restraint = Restraint(Ledger(tmp_path / "progress.json"), clock, lambda: 0.5)
        for _ in range(18):  # nine minutes
            clock.sleep(30)
            allowed.append(restraint.allows(wish, None))
    assert True not in allowed[:30], "it must rest for 900 s of power"
    assert allowed[-1]
