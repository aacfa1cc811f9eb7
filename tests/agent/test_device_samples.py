"""Raw inputs leave a device only when it opted in, is asked, and a person confirmed the answer."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from tests.agent.test_device_signals import ANSWERS, meaning
from tests.agent.world import pictures

from edgeloop.agent.recent import Given, Recent
from edgeloop.agent.samples import Samples
from edgeloop.arrayfiles import array_of
from edgeloop.protocol.messages import SampleRequest
from edgeloop.testing.clock import FakeClock


def given(clock: FakeClock, *, kept: bool = True) -> Given:
    feed = {"image": pictures(3, 1)} if kept else None
    return Given(meaning=meaning(), time=clock.now(), answers=ANSWERS, feed=feed)


def open_samples(
    path: Path, clock: FakeClock, *, opted_in: bool = True, most: int = 1 << 20
) -> Samples:
    return Samples(path / "samples.sqlite", clock, opted_in=opted_in, most_bytes=most)


@pytest.fixture
def samples(tmp_path: Path, clock: FakeClock) -> Samples:
    opened = open_samples(tmp_path, clock)
    opened.ask(SampleRequest(id=3, count=2))
    return opened


def answers(samples: Samples) -> list[str]:
    batch = samples.batch()
    return [] if batch is None else [sample.answer for sample in batch.samples]


def test_a_confirmed_input_is_given_with_its_truth(samples: Samples, clock: FakeClock) -> None:
    samples.offer("a1", given(clock), "left")
    batch = samples.batch()
    assert batch is not None
    assert batch.request == 3
    (sample,) = batch.samples
    (image,) = array_of(base64.b64decode(sample.inputs["image"]))
    assert (image == pictures(3, 1)[0]).all()
    assert sample.truth == "left"


def test_no_more_are_kept_than_were_asked_for(samples: Samples, clock: FakeClock) -> None:
    for number in range(5):
        samples.offer(f"a{number}", given(clock), "left")
    assert answers(samples) == ["a0", "a1"]


def test_what_was_acknowledged_still_counts_and_is_not_given_again(
    samples: Samples, clock: FakeClock
) -> None:
    samples.offer("a1", given(clock), "left")
    batch = samples.batch()
    assert batch is not None
    samples.acknowledged(batch)
    samples.offer("a1", given(clock), "left")
    samples.offer("a2", given(clock), "left")
    samples.offer("a3", given(clock), "left")
    assert answers(samples) == ["a2"]


def test_an_answer_from_before_the_request_is_not_taken(tmp_path: Path, clock: FakeClock) -> None:
    samples, early = open_samples(tmp_path, clock), given(clock)
    clock.sleep(1)
    samples.ask(SampleRequest(id=3, count=2))
    samples.offer("a1", early, "left")
    assert answers(samples) == []


def test_without_a_request_nothing_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    samples = open_samples(tmp_path, clock)
    samples.offer("a1", given(clock), "left")
    samples.ask(SampleRequest(id=3, count=2))
    assert answers(samples) == []


def test_a_device_that_did_not_opt_in_keeps_nothing(tmp_path: Path, clock: FakeClock) -> None:
    samples = open_samples(tmp_path, clock, opted_in=False)
    samples.ask(SampleRequest(id=3, count=2))
    samples.offer("a1", given(clock), "left")
    assert answers(samples) == []


def test_a_new_request_forgets_the_old_ones_samples(samples: Samples, clock: FakeClock) -> None:
    samples.offer("a1", given(clock), "left")
    samples.ask(SampleRequest(id=4, count=2))
    assert answers(samples) == []
    samples.offer("a2", given(clock), "left")
    assert answers(samples) == ["a2"]


def test_samples_have_a_budget_of_bytes(tmp_path: Path, clock: FakeClock) -> None:
    samples = open_samples(tmp_path, clock, most=400)
    samples.ask(SampleRequest(id=3, count=100))
    for number in range(5):
        samples.offer(f"a{number}", given(clock), "left")
    assert answers(samples) == ["a0"]


def test_recent_answers_have_a_budget_of_bytes(clock: FakeClock) -> None:
    recent = Recent(most_bytes=100)
    for number in range(5):
        recent.add(f"a{number}", given(clock))
    assert [n for n in range(5) if recent.get(f"a{n}")] == [2, 3, 4]


def test_a_batch_is_of_the_present_request_alone(samples: Samples, clock: FakeClock) -> None:
    samples.offer("a1", given(clock), "left")
    samples._request = SampleRequest(id=4, count=2)  # as between a new request and its clearing
    assert samples.batch() is None


def test_new_requests_do_not_drain_a_device_in_one_day(tmp_path: Path, clock: FakeClock) -> None:
    opened = Samples(
        tmp_path / "samples.sqlite", clock, opted_in=True, most_bytes=1 << 20, per_day=3
    )
    given_away: list[str] = []
    for request in range(1, 5):
        opened.ask(SampleRequest(id=request, count=2))
        for number in range(2):
            opened.offer(f"r{request}-{number}", given(clock), "left")
        given_away += answers(opened)
        assert answers(opened) == given_away[-len(answers(opened)) or len(given_away) :]
    assert given_away == ["r1-0", "r1-1", "r2-0"]
    clock.sleep(86_400)
    assert answers(opened) == ["r4-0", "r4-1"]
