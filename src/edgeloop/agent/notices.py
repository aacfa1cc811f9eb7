"""What an application can tell its user: an update is coming, waits, is installed, or went back.

In this process by a callable, from others by waiting for what comes (``oip``). In memory alone: an
application that was not there asks the device how it is.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from edgeloop.protocol.messages import ReleaseRef
    from edgeloop.types import Json

logger = logging.getLogger(__name__)

KEPT = 50  # notices
MOST_WAITING = 8  # applications; one more is answered at once
LONGEST_SECONDS = 25.0  # of one question

Kind: TypeAlias = Literal["coming", "waiting", "installed", "returned", "failed", "withdrawn"]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """``coming``: it will be fetched, tried and installed. ``waiting``: ``reason`` holds it back.

    ``installed``: it answers, and stays. ``returned``: it was tried and the one before is in charge
    again. ``failed``: it was not tried. ``withdrawn``: the fleet wishes something else.
    """

    kind: Kind
    release: ReleaseRef
    reason: str = ""
    until: float | None = None  # Unix seconds; None: not known
    postpone_seconds: float = 0.0  # how long "not now" may be; 0: it is not asked

    def told(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "kind": self.kind,
            "version": self.release.version,
            "bundle": self.release.digest,
            "reason": self.reason,
            "until": self.until,
            "postpone_seconds": self.postpone_seconds,
        }


class Notices:
    """The newest notices. Safe for several threads."""

    def __init__(self, notify: Callable[[Notice], None] | None = None) -> None:
        self._notify, self._run = notify, secrets.token_hex(4)
        self._kept: deque[tuple[int, Notice]] = deque(maxlen=KEPT)
        self._newest, self._waiting, self._closed = 0, 0, False
        self._news = threading.Condition()

    def tell(self, notice: Notice) -> None:
        """Tell everybody. Never raises: an application's fault is no reason not to update."""
        with self._news:
            self._newest += 1
            self._kept.append((self._newest, notice))
            self._news.notify_all()
        if self._notify is None:
            return
        try:
            self._notify(notice)
        except Exception:  # the application's own code; whatever it does wrong, the update goes on
            logger.exception("notify.failed kind=%s", notice.kind)

    def behind(self, after: str, seconds: float) -> tuple[str, list[Notice]]:
        """What came behind ``after`` ("" is all that is kept), and what to ask with next.

        Waits for something at most ``seconds``. A name of an earlier run of the agent is as "".
        """
        with self._news:
            if self._waiting < MOST_WAITING:
                self._wait(after, min(seconds, LONGEST_SECONDS))
            return f"{self._run}-{self._newest}", self._since(after)

    def close(self) -> None:
        """Nothing comes any more: who waits is answered."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _wait(self, after: str, seconds: float) -> None:
        self._waiting += 1
        try:
            self._news.wait_for(lambda: self._closed or self._since(after), seconds)
        finally:
            self._waiting -= 1

    def _since(self, after: str) -> list[Notice]:
        run, _, number = after.partition("-")
        known = int(number) if run == self._run and number.isdecimal() else 0
        return [notice for count, notice in self._kept if count > known]
