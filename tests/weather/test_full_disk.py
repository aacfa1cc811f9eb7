"""A disk that is full at any write of an update leaves a device that answers, and then finishes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.weather.full import Update, prepared

WHILE = 40  # operations
LOG = {"insert into answers", "update answers set"}


def one(number: int) -> object:
    return lambda n: n == number


def some(number: int) -> object:
    return lambda n: number <= n < number + WHILE


def on(number: int) -> object:
    return lambda n: n >= number


WAYS = (("at", one, False), ("for a while from", some, False), ("from", on, False),
        ("with a restart, from", on, True))  # fmt: skip


def unlike(done: list[str]) -> list[int]:
    """Of the log of answers, hundreds of which are alike, each twentieth; of the rest, each."""
    before = ["", *done]
    log = [n for n, what in enumerate(done) if LOG & {what, before[n]}]
    return sorted({*range(len(done))} - {*log} | {*log[::20]})


def tried(update: Update, each: int) -> None:
    done = update.count()
    for number in unlike(done):
        for way, (words, full, restart) in enumerate(WAYS):
            if (number + way) % each == 0:
                what = f"full {words} operation {number} ({done[number]})"
                update.try_out(full(number), what, restart=restart)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(done).items()))
    print(
        f"operations that need room    {len(done)} ({kinds})",
        f"full disks tried             {update.trials}",
        f"how updates stood then       {dict(update.ends)}",
        f"failed                       {len(update.failures)}",
        *update.failures[:8],
        sep="\n",
    )
    assert update.failures == []


def test_a_disk_that_is_full_at_some_writes_of_an_update_breaks_no_device(tmp_path: Path) -> None:
    with prepared(tmp_path) as update:
        tried(update, each=31)


@pytest.mark.hard
def test_a_disk_that_is_full_at_any_write_of_an_update_breaks_no_device(tmp_path: Path) -> None:
    with prepared(tmp_path) as update:
        tried(update, each=1)
