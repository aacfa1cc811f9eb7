"""The earliest that it can be: what expiry is judged by on a device whose clock may be wrong.

A time that has passed for certain comes from three places: the day on which this package was
released, the newest signed time that the device has seen, and how long it has been powered since
then. The clock counts only when it is later. So a clock that is years behind neither believes old
metadata nor refuses new metadata, and what a clock that is years ahead says is never kept: trust
heals when the clock does.

A freeze (the same metadata served for ever) is noticed by a clock that survives, or while the
device is powered. One without such a clock that is switched off cannot count that time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuf.api.metadata import Signed

RELEASED = "2026-11-01"  # written anew by docs/changelog.py, with each release
SIGNED_AT = "x-edgeloop-signed-at"  # TUF lets a role carry fields of its own
BOOT = Path("/proc/sys/kernel/random/boot_id")


def released() -> float:
    """The day on which this package was released, as Unix time."""
    return datetime.fromisoformat(RELEASED).replace(tzinfo=UTC).timestamp()


def boot_id() -> str:
    """What names the time since the machine was switched on; "" where the system has no name."""
    return BOOT.read_text().strip() if BOOT.is_file() else ""


def stamp(now: float) -> str:
    """A time as a role carries it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def signed_at(signed: Signed) -> float:
    """When a role was signed, as itself says; 0 for one that does not say it, or no such time.

    No role is signed after it has expired.
    """
    told = signed.unrecognized_fields.get(SIGNED_AT)
    try:
        when = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return 0.0
    if when is None or when.tzinfo is None or when > signed.expires:
        return 0.0
    return when.timestamp()
