"""Whether a draft begins at the root that its holder trusts already.

A draft brings the root that it changes, signed by that root's own keys: whoever drafts can make up
both. So a holder's machine keeps the root that it last signed a change of, beside the key, and
follows from there as devices do, root by root, each signed by the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeloop import durable
from edgeloop.errors import DraftError
from edgeloop.release.draft import LARGEST, Draft
from edgeloop.release.holders import read_plain

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.api.metadata import Metadata, Root

UNKNOWN = (
    "nothing here tells whether that root is the real one: compare its number with what"
    " `edgeloop release keys` says, or name a root that you trust with --root"
)


def beside(key: Path) -> Path:
    """Where the root is kept that the holder of ``key`` trusts."""
    return key.with_suffix(".root.json")


def look(draft: Draft, trusted: Path | None) -> str:
    """What the holder can know of the root that a draft begins at, as a line of words.

    Raises:
        DraftError: it does not follow from the root in ``trusted``, or that is none.
    """
    if trusted is None:
        return UNKNOWN
    known = _read(trusted)
    if not _follows(draft, known):
        got = f"version {draft.now['root'].signed.version}, which does not follow from version"
        raise DraftError(
            f"draft {draft.number}",
            "must begin at the root that you trust, or at one that follows from it",
            got=f"{got} {known.signed.version} in {trusted}",
            todo="Do not sign it, and ask who made it; --root names another root to trust",
        )
    return f"that root is, or follows from, version {known.signed.version} in {trusted}"


def keep(draft: Draft, key: Path) -> None:
    """From now on the holder of ``key`` trusts the root that this draft began at.

    Raises:
        DraftError: it cannot be written, as on a stick that is read only.
        DiskFullError: no room for it.
    """
    path = beside(key)
    try:
        durable.write(path, draft.now["root"].to_bytes(), thing=f"root {path}")
    except OSError as fault:
        raise DraftError(
            f"root {path}",
            "must be writable",
            got=fault.strerror,
            todo="The draft is signed; name a root that you trust with --root the next time",
        ) from fault


def _follows(draft: Draft, known: Metadata[Root]) -> bool:
    """Each root on the way is the next version, signed as the one before it asks, and itself."""
    at, now = known, draft.now["root"]
    for root in (*draft.before, now):
        if root.signed.version <= at.signed.version:
            continue
        if root.signed.version != at.signed.version + 1 or not _signed(at, root):
            return False
        at = root
    return at.signed_bytes == now.signed_bytes


def _signed(before: Metadata[Root], after: Metadata[Root]) -> bool:
    return bool(
        after.signed.get_root_verification_result(
            before.signed, after.signed_bytes, after.signatures
        )
    )


def _read(path: Path) -> Metadata[Root]:
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata

    try:
        found: Metadata[Any] = Metadata.from_bytes(read_plain(path, LARGEST))
    except (RepositoryError, RecursionError) as fault:
        raise DraftError(f"root {path}", "must hold whole root metadata") from fault
    if found.signed.type != "root":
        raise DraftError(f"root {path}", "must hold root metadata", got=found.signed.type)
    return found
