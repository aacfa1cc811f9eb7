"""When a device that keeps failing rests, and how long. No I/O, no clock.

Three failed attempts of one bundle, in whatever rollouts, and this bundle rests. Five failed
updates within 180 s, and every update rests, but for the way back to an older release.
Times are those of a :class:`~edgeloop.agent.reckoning.Reckoning`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

MOST_OF_ONE = 3
MOST_IN_SHORT = 5
SHORT_SECONDS = 180.0
FIRST_SECONDS = 900.0
LONGEST_SECONDS = 86_400.0
KEPT = 20  # failures


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Failure(_Kept):
    """One update that failed; ``at`` in Unix seconds."""

    digest: str
    version: int
    at: float


class Rest(_Kept):
    """No update of ``digest`` (None: of anything) until ``began + seconds``."""

    digest: str | None
    reason: str
    began: float
    seconds: float

    @property
    def until(self) -> float:
        """Unix seconds."""
        return self.began + self.seconds

    def bars(self, digest: str, now: float) -> bool:
        """Whether this bundle may not be tried at ``now``."""
        return now < self.until and self.digest in {None, digest}


class Record(_Kept):
    """What a device remembers of its failures. ``rests``: how many since an update went well.

    ``passed``: a time that has passed, noted while it rests.
    """

    failures: tuple[Failure, ...] = ()
    rests: int = 0
    rest: Rest | None = None
    passed: float = 0.0

    @property
    def latest(self) -> float:
        """The latest time that it holds; none is before it."""
        failed = (one.at for one in self.failures)
        return max(self.passed, self.rest.began if self.rest else 0.0, *failed, 0.0)

    def failed(self, digest: str, version: int, now: float) -> Record:
        """One more; with a rest, where this is one too many."""
        failure = Failure(digest=digest, version=version, at=now)
        record = self.model_copy(update={"failures": (*self.failures, failure)[-KEPT:]})
        return _rested(record, failure)

    def bars(self, digest: str, now: float) -> bool:
        """Whether the device rests from this bundle."""
        return self.rest is not None and self.rest.bars(digest, now)


def _rested(record: Record, newest: Failure) -> Record:
    of_one = sum(one.digest == newest.digest for one in record.failures)
    lately = sum(0 <= newest.at - one.at <= SHORT_SECONDS for one in record.failures)
    about: dict[str, Any]
    if lately >= MOST_IN_SHORT:
        reason = f"{lately} updates failed within {SHORT_SECONDS:g} s"
        about = {"digest": None, "reason": reason}
    elif of_one >= MOST_OF_ONE:
        reason = f"release {newest.version} failed {of_one} times"
        about = {"digest": newest.digest, "reason": reason}
    else:
        return record
    seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(record.rests, 20))
    rest = Rest(**about, began=newest.at, seconds=seconds)
    return record.model_copy(update={"rest": rest, "rests": record.rests + 1})
