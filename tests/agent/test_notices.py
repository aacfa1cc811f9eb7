"""Applications hear of an update: in the process by a callable, from another by waiting."""

from __future__ import annotations

import threading

import pytest

from edgeloop.agent.notices import KEPT, Notice, Notices
from edgeloop.protocol.messages import ReleaseRef

REF = ReleaseRef(name="sorter", channel="stable", version=4, digest="sha256:" + "4" * 64)
COMING = Notice(kind="coming", release=REF, postpone_seconds=3600)
INSTALLED = Notice(kind="installed", release=REF)


def test_who_asks_again_hears_only_what_came_since() -> None:
    notices = Notices()
    notices.tell(COMING)
    after, first = notices.behind("", 0)
    notices.tell(INSTALLED)
    assert (first, notices.behind(after, 0)[1]) == ([COMING], [INSTALLED])


def test_who_waits_is_told_as_soon_as_something_comes() -> None:
    notices, heard = Notices(), list[Notice]()
    thread = threading.Thread(target=lambda: heard.extend(notices.behind("", 20)[1]))
    thread.start()
    notices.tell(COMING)
    thread.join()
    assert heard == [COMING]


def test_who_waits_is_answered_when_the_agent_ends() -> None:
    notices = Notices()
    thread = threading.Thread(target=notices.behind, args=("", 20))
    thread.start()
    notices.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_name_of_an_earlier_run_hears_all_that_is_kept() -> None:
    earlier = Notices()
    earlier.tell(COMING)
    after, _ = earlier.behind("", 0)
    later = Notices()
    later.tell(INSTALLED)
    assert [later.behind(name, 0)[1] for name in (after, "x", "-", "1")] == [[INSTALLED]] * 4


def test_only_the_newest_are_kept() -> None:
    notices = Notices()
    for _ in range(KEPT + 1):
        notices.tell(COMING)
    notices.tell(INSTALLED)
    kept = notices.behind("", 0)[1]
    assert (len(kept), kept[-1]) == (KEPT, INSTALLED)


def test_an_application_that_fails_at_its_news_is_no_reason_to_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def notify(notice: Notice) -> None:
        raise ValueError(notice.kind)

    notices = Notices(notify)
    notices.tell(COMING)
    assert notices.behind("", 0)[1] == [COMING]
    assert caplog.messages == ["notify.failed kind=coming"]
