"""A draft: the next root and targets metadata as one file, which goes from holder to holder.

It also holds the metadata before, so that a machine without a network can tell what changes, and
the roots that led to it, for holders who trust one of them already.
Whoever carried it may have changed it: everything that is read of it is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop import durable
from edgeloop.errors import DraftError
from edgeloop.release.draft_rules import refuse_odd_root, refuse_odd_targets
from edgeloop.release.holders import called, read_plain, spoken
from edgeloop.release.trusted_time import signed_at

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key
    from tuf.api.metadata import Metadata, Root, Targets, VerificationResult

FORMAT = 1
LARGEST = 1 << 20  # bytes; a real one has some ten thousand
CHAIN = 32  # earlier roots that it brings, at most; the largest have some 20 kB each
OFFLINE = ("root", "targets")
AGAIN = "Ask for a new one: `edgeloop release keys draft`"

Pair = Mapping[str, "Metadata[Any]"]  # role -> its metadata


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who is to sign one part, root twice: ``by`` says which keys these are."""

    part: str
    by: str
    result: VerificationResult


@dataclass(frozen=True, kw_only=True)
class Draft:
    """``now`` has both roles, ``next`` one or both; ``before``: earlier roots, the oldest first."""

    now: Pair
    next: Pair
    before: tuple[Metadata[Root], ...] = ()

    @property
    def root(self) -> Metadata[Root]:
        """Root as it will be."""
        return self.next.get("root", self.now["root"])

    @property
    def targets(self) -> Metadata[Targets]:
        """Targets as they will be."""
        return self.next.get("targets", self.now["targets"])

    @property
    def number(self) -> str:
        """What holders compare over the telephone: what is to be signed, and what it changes."""
        pairs = (self.now, self.next)
        return number(*(pair[role] for pair in pairs for role in OFFLINE if role in pair))

    def asked(self) -> list[Asked]:
        """Whose signatures it takes, and which there are."""
        found = []
        if "root" in self.next:
            root, before = self.next["root"], self.now["root"].signed
            both = root.signed.get_root_verification_result(
                before, root.signed_bytes, root.signatures
            )
            found.append(Asked(part="root", by="root as it is", result=both.first))
            found.append(Asked(part="root", by="root as it will be", result=both.second))
        if "targets" in self.next:
            targets = self.next["targets"]
            result = self.root.signed.get_verification_result(
                "targets", targets.signed_bytes, targets.signatures
            )
            found.append(Asked(part="targets", by="targets", result=result))
        return found

    def holders(self) -> dict[str, Key]:
        """Everybody who may sign: id -> key."""
        return {
            keyid: key
            for asked in self.asked()
            for keyid, key in (asked.result.signed | asked.result.unsigned).items()
        }

    def sign(self, signer: CryptoSigner) -> tuple[str, ...]:
        """Add a holder's signatures; gives the roles that were signed.

        Raises:
            DraftError: nobody asks for this key.
        """
        keyid = signer.public_key.keyid
        parts = {
            asked.part: None
            for asked in self.asked()
            if keyid in asked.result.signed | asked.result.unsigned
        }
        if not parts:
            wanted = ", ".join(called(key) for key in self.holders().values())
            raise DraftError(
                f"draft {self.number}",
                "must be signed by a key that it asks for",
                got=f"key {keyid[:8]}",
                todo=f"It asks for {wanted}",
            )
        for part in parts:
            self.next[part].sign(signer, append=True)
        return tuple(parts)

    def with_signatures_of(self, others: Sequence[Draft]) -> Draft:
        """Gather what holders signed on copies of their own.

        Raises:
            DraftError: another one says something else.
        """
        for other in others:
            if other.number != self.number:
                raise DraftError(
                    f"draft {other.number}",
                    f"must be a copy of draft {self.number}",
                    todo="Publish each draft by itself",
                )
            for role, metadata in other.next.items():
                self.next[role].signatures.update(_valid(other, role, metadata))
        return self

    def text(self) -> bytes:
        """The file's bytes."""
        told = {
            "format": FORMAT,
            "now": {role: metadata.to_dict() for role, metadata in self.now.items()},
            "next": {role: metadata.to_dict() for role, metadata in self.next.items()},
            "before": [metadata.to_dict() for metadata in self.before],
        }
        return json.dumps(told, indent=1, sort_keys=True).encode() + b"\n"


def number(*parts: Metadata[Any]) -> str:
    """128 bits of a hash over what is signed, for people to compare."""
    hashes = (hashlib.sha256(metadata.signed_bytes).digest() for metadata in parts)
    return spoken(hashlib.sha256(b"".join(hashes)).hexdigest())


def begin(draft: Draft, path: Path) -> None:
    """Write a new one, never over another, which may bear signatures.

    Raises:
        DraftError: there is one.
    """
    if path.exists():
        raise DraftError(f"draft {path}", "must not be there yet", todo="Move it, or say --out")
    save(draft, path)


def save(draft: Draft, path: Path) -> None:
    """Write it; whole or not at all."""
    durable.write(path, draft.text(), thing=f"draft {path}")


def read(path: Path) -> Draft:
    """A draft that somebody brought.

    Raises:
        DraftError: it is no draft, or asks for what no draft may.
    """
    thing, data = f"draft {path}", read_plain(path, LARGEST)
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise DraftError(thing, "must be JSON", todo=AGAIN) from fault
    keys = set(told) if isinstance(told, dict) else set()
    if keys != {"format", "now", "next", "before"} or told["format"] != FORMAT:
        raise DraftError(thing, f"must be a draft of format {FORMAT}", todo=AGAIN)
    now, following = _pair(told["now"], thing), _pair(told["next"], thing)
    if set(now) != set(OFFLINE) or not following:
        raise DraftError(thing, "must tell root and targets, and what changes", todo=AGAIN)
    draft = Draft(now=now, next=following, before=_before(told["before"], thing))
    refuse_odd(draft, thing)
    return replace(draft, next={role: _tidy(draft, role) for role in following})


def refuse_odd(draft: Draft, thing: str) -> None:
    """What no draft may ask for.

    Raises:
        DraftError: it does, and says what.
    """
    for fault in _faults(draft):
        raise DraftError(thing, "must be one that holders can sign", got=fault, todo=AGAIN)


def _faults(draft: Draft) -> Iterator[str]:
    for role, metadata in draft.next.items():
        before = draft.now[role].signed.version
        if metadata.signed.version != before + 1:
            yield f"version {metadata.signed.version} of {role} after {before}"
        if not signed_at(metadata.signed):
            yield f"{role} without the time at which it was drafted"
    yield from refuse_odd_root(draft.now["root"].signed)
    yield from refuse_odd_root(draft.root.signed)
    yield from refuse_odd_targets(draft.now["targets"].signed)
    yield from refuse_odd_targets(draft.targets.signed)
    old = draft.now["root"].signed
    for role, metadata in draft.now.items():
        if not old.get_verification_result(role, metadata.signed_bytes, metadata.signatures):
            yield f"{role} as it is now without its signatures"


def _before(told: object, thing: str) -> tuple[Metadata[Root], ...]:
    if not isinstance(told, list) or len(told) > CHAIN:
        raise DraftError(thing, f"must bring at most {CHAIN} earlier roots", todo=AGAIN)
    return tuple(_metadata("root", part, thing) for part in told)


def _pair(told: object, thing: str) -> dict[str, Metadata[Any]]:
    if not isinstance(told, dict):
        raise DraftError(thing, "must name its parts", todo=AGAIN)
    unknown = sorted(set(told) - set(OFFLINE))
    if unknown:
        rule = "must change root and targets alone"
        raise DraftError(thing, rule, got=f"role {unknown[0][:40]!r}", todo=AGAIN)
    return {role: _metadata(role, part, thing) for role, part in told.items()}


def _metadata(role: str, told: object, thing: str) -> Metadata[Any]:
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata

    try:
        found: Metadata[Any] = Metadata.from_bytes(json.dumps(told).encode())
        found.signed_bytes  # noqa: B018  (raises for what has no canonical form)
    except (RepositoryError, RecursionError) as fault:
        raise DraftError(thing, f"must hold whole {role} metadata", todo=AGAIN) from fault
    if found.signed.type != role:
        got = found.signed.type
        raise DraftError(thing, f"must hold {role} metadata", got=got, todo=AGAIN)
    return found


def _tidy(draft: Draft, role: str) -> Metadata[Any]:
    """One part with no other signatures than those that hold and are asked for."""
    metadata = draft.next[role]
    valid = _valid(draft, role, metadata)
    metadata.signatures.clear()
    metadata.signatures.update(valid)
    return metadata


def _valid(draft: Draft, role: str, metadata: Metadata[Any]) -> dict[str, Any]:
    signed = {key for a in draft.asked() if a.part == role for key in a.result.signed}
    return {key: found for key, found in metadata.signatures.items() if key in signed}
