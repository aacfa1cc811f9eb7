"""Which formats of its files this agent writes, so that an older one can say that it reads them.

An agent that goes on trial must leave every file readable to the one before it: each number here is
at most what that one knows. A file that needs a newer format gets a release in between, which reads
the newer one and still writes the older.
"""

from __future__ import annotations

from edgeloop.agent import handled_payload, launcher, slots, states


def written() -> dict[str, int]:
    """File -> number."""
    return {
        "progress.json": states.FORMAT,
        "slots.json": slots.FORMAT,
        "handed.json": handled_payload.FORMAT,
        launcher.FILE: launcher.FORMAT,
    }


def newer(theirs: dict[str, int]) -> list[str]:
    """Files that they would write and this agent could not read."""
    ours = written()
    return sorted(name for name, number in theirs.items() if name in ours and number > ours[name])
