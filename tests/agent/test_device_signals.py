"""Windows of signals: counted once, merged when full, never changed once sent."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from tests.agent.world import pictures

from edgeloop.agent.loaded import Meaning
from edgeloop.agent.signals import BATCH, Signals
from edgeloop.answers.label import Label
from edgeloop.protocol.messages import ReleaseRef, Window
from edgeloop.sketches.profile import Profile
from edgeloop.testing.clock import FakeClock

ANSWERS = {
    "probabilities": np.asarray([[0.9, 0.1]], dtype=np.float32),
    "label": np.asarray([0]),
}


def meaning(name: str = "a") -> Meaning:
    ref = ReleaseRef(name="sorter", channel="stable", version=1, digest="sha256:" + name * 64)
    return Meaning(ref=ref, kind=Label(classes=("left", "right")), signals={"image": "image"})


def open_signals(path: Path, clock: FakeClock, *, most_bytes: int = 1 << 20) -> Signals:
    return Signals(path / "signals.sqlite", clock, answers=40, seconds=60, most_bytes=most_bytes)


@pytest.fixture
def signals(tmp_path: Path, clock: FakeClock) -> Signals:
    return open_signals(tmp_path, clock)


def fill(signals: Signals, of: Meaning, answers: int) -> None:
    for image in pictures(3, answers):
        signals.saw(of, {"image": image[None]}, ANSWERS, 1.5)


def sent(signals: Signals) -> tuple[Window, ...]:
    batch = signals.batch()
    return () if batch is None else batch.windows


def test_a_window_closes_after_its_number_of_answers(signals: Signals) -> None:
    fill(signals, meaning(), 85)
    assert [window.answers for window in sent(signals)] == [40, 40]


def test_a_window_closes_after_its_time(signals: Signals, clock: FakeClock) -> None:
    fill(signals, meaning(), 5)
    signals.close_due()
    assert sent(signals) == ()
    clock.sleep(60)
    signals.close_due()
    assert [window.answers for window in sent(signals)] == [5]


def test_a_window_closes_when_the_clock_was_set_back(signals: Signals, clock: FakeClock) -> None:
    fill(signals, meaning(), 5)
    clock.jump(-1000)
    signals.close_due()
    assert [window.answers for window in sent(signals)] == [5]


def test_a_window_sketches_every_answer_and_its_latency(signals: Signals) -> None:
    fill(signals, meaning(), 40)
    profile = Profile.from_json(sent(signals)[0].sketches)
    assert profile.rows("input.image.mean") == 40
    assert profile.rows("answer.confidence") == 40
    assert profile.rows("latency_ms") == 40


def test_errors_and_confirmations_are_counted(signals: Signals) -> None:
    signals.failed(meaning())
    signals.confirmed(meaning(), 1.0)
    signals.confirmed(meaning(), 0.0)
    signals.close_all()
    (window,) = sent(signals)
    assert (window.answers, window.errors, window.confirmed, window.quality) == (0, 1, 2, 1.0)


def test_each_bundle_has_its_own_window(signals: Signals) -> None:
    fill(signals, meaning("a"), 5)
    fill(signals, meaning("b"), 6)
    signals.close_all()
    assert {w.bundle[7]: w.answers for w in sent(signals)} == {"a": 5, "b": 6}


def test_a_batch_is_the_same_until_it_is_acknowledged(signals: Signals) -> None:
    fill(signals, meaning(), 40)
    first = signals.batch()
    fill(signals, meaning(), 40)
    assert signals.batch() == first
    assert first is not None
    signals.acknowledged(first)
    assert [window.answers for window in sent(signals)] == [40]
    assert sent(signals)[0].id != first.windows[0].id


def test_windows_wait_on_disk(tmp_path: Path, signals: Signals, clock: FakeClock) -> None:
    fill(signals, meaning(), 40)
    first = signals.batch()
    signals.close()
    assert open_signals(tmp_path, clock).batch() == first


def test_a_full_buffer_merges_old_windows_and_loses_no_answer(
    tmp_path: Path, clock: FakeClock
) -> None:
    signals = open_signals(tmp_path, clock, most_bytes=20_000)
    fill(signals, meaning(), 40 * 12)
    windows = sent(signals)
    assert sum(window.answers for window in windows) == 480
    assert len(windows) < 12
    rows = sum(Profile.from_json(w.sketches).rows("input.image.mean") for w in windows)
    assert rows == 480


def test_a_window_that_was_ever_sent_is_never_merged(tmp_path: Path, clock: FakeClock) -> None:
    signals = open_signals(tmp_path, clock, most_bytes=20_000)
    fill(signals, meaning(), 40 * 2)
    first = signals.batch()
    fill(signals, meaning(), 40 * 10)
    assert signals.batch() == first
    assert first is not None
    signals.acknowledged(first)
    assert sum(window.answers for window in sent(signals)) == 400


def test_windows_that_are_merged_keep_their_complaints(tmp_path: Path, clock: FakeClock) -> None:
    signals = open_signals(tmp_path, clock, most_bytes=1)
    for _ in range(2):
        signals.complained(meaning())
        fill(signals, meaning(), 40)
    assert [(window.answers, window.complaints) for window in sent(signals)] == [(80, 2)]


def test_windows_of_different_bundles_are_never_merged(tmp_path: Path, clock: FakeClock) -> None:
    signals = open_signals(tmp_path, clock, most_bytes=1)
    fill(signals, meaning("a"), 80)
    fill(signals, meaning("b"), 80)
    assert [(w.bundle[7], w.answers) for w in sent(signals)] == [("a", 80), ("b", 80)]


def test_a_batch_has_a_largest_size(tmp_path: Path, clock: FakeClock) -> None:
    signals = Signals(tmp_path / "s.sqlite", clock, answers=1, seconds=60, most_bytes=1 << 30)
    fill(signals, meaning(), BATCH + 1)
    assert len(sent(signals)) == BATCH


def test_a_window_that_finds_no_room_is_kept_and_stored_later(
    signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Signals, "_stay_within_budget", lambda *_: full(Path()))
        fill(signals, meaning(), 45)
        signals.close_all()
    assert sent(signals) == ()
    fill(signals, meaning(), 35)  # at 80 answers it is full once more
    assert [window.answers for window in sent(signals)] == [80]
