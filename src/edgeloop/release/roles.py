"""The signed metadata of a TUF repository: how a role's file is found, signed and written.

``timestamp.json`` is written last, so that a kill leaves the old repository whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop import durable
from edgeloop.clock import Clock
from edgeloop.errors import KeyFileError, NotListedError, ThresholdError
from edgeloop.release import keys
from edgeloop.release.holders import holder
from edgeloop.release.keys import ROLES
from edgeloop.release.trusted_time import SIGNED_AT, stamp

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Role, Snapshot, Timestamp

EXPIRES_DAYS = {"root": 365, "targets": 365, "channel": 90, "snapshot": 14, "timestamp": 14}
TODO = "Free space and run again; what is published stays as it was"


@dataclass(frozen=True, kw_only=True)
class KeyLine:
    """What is known of one key of a role; ``file`` is ``here``, ``not here`` or ``another key``.

    ``threshold``: how many of the role's keys must sign. ``version`` and ``expires`` are of what
    the role signed last; None for a key that signs nothing of the repository's own.
    """

    role: str
    key: str
    file: str
    threshold: int
    version: int | None
    expires: str | None
    holder: str = ""


class Roles:
    """The metadata of the repository in ``folder``, signed with the keys in ``keys``."""

    def __init__(self, folder: Path, keys_folder: Path, clock: Clock) -> None:
        self.folder, self.keys = folder, keys_folder
        self._metadata, self._clock = folder / "metadata", clock

    def exists(self) -> bool:
        """Whether there is metadata at all."""
        return (self._metadata / "timestamp.json").exists()

    def channels(self) -> tuple[str, ...]:
        """The roles that targets delegates to."""
        delegations = self.load("targets").signed.delegations
        return tuple(delegations.roles or ()) if delegations else ()

    def newest_root(self) -> bytes:
        """Root metadata as it is published now."""
        return (self._metadata / self._file("root")).read_bytes()

    def load(self, role: str) -> Metadata[Any]:
        """A role's metadata as it is published now.

        Raises:
            NotListedError: the repository has none.
        """
        from tuf.api.metadata import Metadata

        if not self.exists():
            raise NotListedError(
                f"repository {self.folder}",
                "must have signed metadata",
                todo="Run `edgeloop release keys`",
            )
        return Metadata.from_bytes((self._metadata / self._file(role)).read_bytes())

    def earlier(self, role: str, version: int) -> Metadata[Any] | None:
        """Root or targets as they once were published; None where that file is gone."""
        from tuf.api.metadata import Metadata

        path = self._metadata / f"{version}.{role}.json"
        return Metadata.from_bytes(path.read_bytes()) if path.is_file() else None

    def trusted(self, role: str) -> Role:
        """The ids of the keys that devices trust for a role, and how many of them must sign."""
        if role in ROLES:
            found: Role = self.load("root").signed.roles[role]
        else:
            found = self.load("targets").signed.delegations.roles[role]
        return found

    def signer(self, role: str) -> CryptoSigner:
        """The key that devices trust for a role.

        Raises:
            KeyFileError: its file is missing or broken, or holds another key, whose signatures
                devices would refuse.
            ThresholdError: one key is not enough.
        """
        self.settle(role)
        self.refuse_shared(role)
        trusted = self.trusted(role).keyids
        found = keys.signer(self.keys, role)
        if found.public_key.keyid not in trusted:
            raise KeyFileError(
                f"key file {self.keys / role}.pem",
                "must be the key that devices trust for it",
                got=f"key {found.public_key.keyid[:8]}",
                todo=f"Put the file of key {trusted[0][:8]} back{keys.instead(role)};"
                " nothing was published",
            )
        return found

    def settle(self, role: str) -> None:
        """Put a key that waited in its place, once devices trust it."""
        waiting = keys.next_signer(self.keys, role)
        if waiting is not None and waiting.public_key.keyid in self.trusted(role).keyids:
            keys.take_over(self.keys, role)

    def refuse_shared(self, role: str) -> None:
        """Refuse to sign alone what several holders must sign.

        Raises:
            ThresholdError: they must.
        """
        trusted = self.trusted(role)
        if trusted.threshold > 1:
            raise ThresholdError(
                f"role {role}",
                f"must be signed by {trusted.threshold} of {len(trusted.keyids)} holders",
                got="one folder of keys",
                todo="Draft the change: `edgeloop release keys draft`",
            )

    def signs_alone(self, role: str) -> bool:
        """Whether the key file that is here is all that it takes."""
        return self.has_key(role) and self.trusted(role).threshold == 1

    def retire(self, role: str) -> None:
        """Keep a role's key aside if devices do not trust it any more."""
        if self.has_key(role) and self._where(role) == "another key":
            keys.retire(self.keys, role)

    def lines(self) -> list[KeyLine]:
        """Every role with its keys."""
        return [line for role in (*ROLES, *self.channels()) for line in self._lines(role)]

    def _lines(self, role: str) -> list[KeyLine]:
        trusted, signed = self.trusted(role), self.load(role).signed
        return [
            KeyLine(
                role=role,
                key=keyid,
                file=self._where(role, keyid),
                threshold=trusted.threshold,
                version=signed.version,
                expires=signed.expires.date().isoformat(),
                holder=self._holder(role, keyid),
            )
            for keyid in trusted.keyids
        ]

    def _holder(self, role: str, keyid: str) -> str:
        above = self.load("root").signed if role in ROLES else self.load("targets").signed
        return holder(above.get_key(keyid))

    def _where(self, role: str, keyid: str | None = None) -> str:
        """Whether a key, or any that the role trusts, is the one in the role's file."""
        if not self.has_key(role):
            return "not here"
        found, trusted = keys.signer(self.keys, role).public_key.keyid, self.trusted(role).keyids
        if keyid is not None and found in trusted and found != keyid:
            return "not here"
        return "here" if found in trusted else "another key"

    def has_key(self, role: str) -> bool:
        """Whether there is a key file for a role."""
        return (self.keys / f"{role}.pem").is_file()

    def now(self) -> float:
        """The time by which is signed, as Unix seconds."""
        return self._clock.now()

    def expiry(self, role: str) -> datetime:
        """Until when what is signed now is believed."""
        now = datetime.fromtimestamp(self._clock.now(), UTC).replace(microsecond=0)
        return now + timedelta(days=EXPIRES_DAYS[role if role in ROLES else "channel"])

    def renew(self, role: str, metadata: Metadata[Any], *signers: CryptoSigner) -> int:
        """Sign the next version of a role, with its own key if no other is given; its number."""
        metadata.signed.version += 1
        metadata.signed.expires = self.expiry(role)
        self.save(role, metadata, signers or (self.signer(role),))
        version: int = metadata.signed.version
        return version

    def publish(self, changed: Mapping[str, int]) -> None:
        """Sign the next snapshot, with the versions that changed, and its timestamp."""
        self.sign_timestamp(self.sign_snapshot(changed))

    def sign_snapshot(self, changed: Mapping[str, int], *signers: CryptoSigner) -> int:
        """The next snapshot, which nobody sees before a timestamp names it; its version."""
        snapshot: Metadata[Snapshot] = self.load("snapshot")
        for role, version in changed.items():
            snapshot.signed.meta[f"{role}.json"] = meta_file(version)
        return self.renew("snapshot", snapshot, *signers)

    def sign_timestamp(self, snapshot: int, *signers: CryptoSigner) -> None:
        """Publish the snapshot of this version."""
        timestamp: Metadata[Timestamp] = self.load("timestamp")
        timestamp.signed.snapshot_meta = meta_file(snapshot)
        self.renew("timestamp", timestamp, *signers)

    def save(self, role: str, metadata: Metadata[Any], signers: Sequence[CryptoSigner]) -> None:
        """Sign a role's metadata, with the time at which that is done, and write it."""
        metadata.signed.unrecognized_fields[SIGNED_AT] = stamp(self._clock.now())
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        self.put(role, metadata)

    def put(self, role: str, metadata: Metadata[Any]) -> None:
        """Write a role's metadata as it was signed."""
        prefix = "" if role == "timestamp" else f"{metadata.signed.version}."
        self.write(self._metadata / f"{prefix}{role}.json", metadata.to_bytes())

    def write(self, path: Path, data: bytes) -> None:
        """Write one file of the repository; whole or not at all.

        Raises:
            DiskFullError: no room; what is published stays as it was.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(path, data, thing=f"repository {self.folder}", todo=TODO)

    def _file(self, role: str) -> str:
        """The file of a role as the timestamp and the snapshot name it.

        What a killed publication left beside them is not looked at, and is written over.
        """
        if role == "timestamp":
            return "timestamp.json"
        if role == "root":
            found = self._metadata.glob("*.root.json")
            return max(found, key=lambda path: int(path.name.partition(".")[0])).name
        named = self.load("timestamp").signed.snapshot_meta.version
        if role != "snapshot":
            named = self.load("snapshot").signed.meta[f"{role}.json"].version
        return f"{named}.{role}.json"


def meta_file(version: int) -> Any:
    """How a snapshot or a timestamp names a version."""
    from tuf.api.metadata import MetaFile

    return MetaFile(version)
