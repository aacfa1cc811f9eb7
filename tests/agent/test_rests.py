"""A device that keeps failing rests: when, from what, and how long."""

from __future__ import annotations

from edgeloop.agent.rests import LONGEST_SECONDS, Record, Rest

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


def test_a_clock_that_was_put_back_begins_the_rest_again_and_no_more() -> None:
    record = failed(10 * DAY, 10 * DAY, 10 * DAY).at(5.0)
    assert record.rest is not None
    assert (record.rest.began, record.bars(ONE, 904), record.bars(ONE, 905)) == (5.0, True, False)
