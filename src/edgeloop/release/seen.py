"""What a device has seen of a repository, so that nobody shows it an older one.

python-tuf compares with the metadata in its cache, and a cache may break. This is one small file
beside it, written whole before what it tells of is relied on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop import durable

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

FORMAT = 1
SAVED_EACH = 3600.0  # seconds; a flash chip is not worn for less time than this

Version = Annotated[int, Field(ge=0)]


class Seen(BaseModel):
    """``seen.json``. ``passed``: Unix seconds that had passed when ``monotonic`` was read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    format: int = FORMAT
    root: Version = 0
    keys: tuple[str, ...] = ()  # of timestamp and snapshot, which signed all that stands below
    versions: dict[str, Version] = {}  # role -> its newest
    passed: float = 0.0
    monotonic: float = 0.0
    boot: str = ""

    def under(self, keys: tuple[str, ...]) -> Seen:
        """What still counts when root names ``keys``: of replaced ones, root's version alone.

        Whoever stole a key may have counted versions and time far ahead (TUF calls it fast-forward
        attack); replacing the key takes them back.
        """
        return self if keys == self.keys else Seen(root=self.root, keys=keys)

    def now(self, monotonic: float, boot: str) -> float:
        """A Unix time that has passed for certain."""
        powered = monotonic - self.monotonic if boot and boot == self.boot else 0.0
        return self.passed + max(0.0, powered)

    def older(self, root: int, versions: Mapping[str, int]) -> str:
        """Which of these is older than was seen; "" for none."""
        newest = {**self.versions, "root": self.root}
        for role, version in {**versions, "root": root}.items():
            if version < newest.get(role, 0):
                return f"{role} version {version} after {newest[role]}"
        return ""

    def worth_saving(self, before: Seen) -> bool:
        """Whether it says more than a little time."""
        same = before.model_copy(update={"passed": self.passed, "monotonic": self.monotonic})
        return self != same or self.passed - before.passed >= SAVED_EACH


def load(path: Path) -> Seen:
    """What was seen; nothing where the file is missing or broken.

    A broken file must not lock the device out, and no network can break it: what is left then is
    python-tuf's own cache.
    """
    try:
        return Seen.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Seen()
    except (OSError, ValidationError) as fault:
        logger.warning("seen.broken fault=%s", fault)
        return Seen()


def save(path: Path, seen: Seen) -> None:
    """Keep it; a power cut leaves the old or the new one.

    Raises:
        DiskFullError: no room; the old one is there.
    """
    durable.write(path, seen.model_dump_json().encode(), thing="what was seen of the repository")
