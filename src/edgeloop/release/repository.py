"""The signed side of releases: a TUF repository whose channels list what a device may install.

One delegated role per channel. ``<channel>/<name>.json`` is the channel's list
(:class:`ChannelList`: versions, digests, floor, rollout plan of each), and
``<channel>/_<name>.<version>.json`` each bundle's manifest; both are TUF targets. New files are
written first and ``timestamp.json`` last, so that a kill leaves the old repository whole.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import (
    DiskFullError,
    GateError,
    KeyFileError,
    NotListedError,
    OverrideError,
    SignatureError,
)
from edgeloop.protocol.messages import ChannelList, Delisted, Listed, ReleaseRef, RolloutPlan
from edgeloop.release.keys import ROLES, generate, signer
from edgeloop.store.manifest import digest_of

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

EXPIRES_DAYS = {"root": 365, "targets": 365, "channel": 90, "snapshot": 14, "timestamp": 14}


class Repository:
    """Publishes to the repository in ``folder`` with the keys in ``keys``."""

    def __init__(self, folder: Path, keys: Path, clock: Clock | None = None) -> None:
        self.folder, self.keys = folder, keys
        self._clock = clock or SystemClock()
        self._metadata = folder / "metadata"
        self._targets = folder / "targets"

    def create(self, channels: tuple[str, ...]) -> None:
        """Make keys and first metadata where there are none, and add channels that are new.

        Raises:
            OverrideError: a channel has the name of one of TUF's own roles.
        """
        reserved = sorted(set(channels) & set(ROLES))
        if reserved:
            rule = f"must not be one of {', '.join(ROLES)}"
            raise OverrideError(f"channel {reserved[0]!r}", rule, todo="TUF's own roles have these")
        self._metadata.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if (self._metadata / "timestamp.json").exists():
                self._add(channels)
            else:
                self._begin(channels)

    def _begin(self, channels: tuple[str, ...]) -> None:
        from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

        signers = generate(self.keys, channels)
        root = Root(expires=self._expiry("root"), consistent_snapshot=True)
        for role in ROLES:
            root.add_key(signers[role].public_key, role)
        self._save("root", Metadata(root))
        top = Targets(expires=self._expiry("targets"))
        snapshot = Snapshot(expires=self._expiry("snapshot"))
        for channel in channels:
            _delegate(top, channel, signers[channel])
            self._save(channel, Metadata(Targets(expires=self._expiry("channel"))))
            snapshot.meta[f"{channel}.json"] = _meta_file(1)
        self._save("targets", Metadata(top))
        self._save("snapshot", Metadata(snapshot))
        self._save("timestamp", Metadata(Timestamp(expires=self._expiry("timestamp"))))

    def _add(self, channels: tuple[str, ...]) -> None:
        """Delegate to the channels that the repository does not have yet."""
        from tuf.api.metadata import Metadata, Targets

        top: Metadata[Targets] = self._load("targets")
        known = top.signed.delegations.roles if top.signed.delegations else {}
        new = tuple(channel for channel in channels if channel not in (known or {}))
        if not new:
            return
        signers = generate(self.keys, new)
        changed = {}
        for channel in new:
            _delegate(top.signed, channel, signers[channel])
            self._save(channel, Metadata(Targets(expires=self._expiry("channel"))))
            changed[channel] = 1
        self._sign_snapshot({**changed, "targets": self._renew("targets", top)})

    def root(self) -> bytes:
        """The first root metadata: what a device is given to trust."""
        return (self._metadata / "1.root.json").read_bytes()

    def publish(
        self,
        manifest: bytes,
        *,
        name: str,
        channel: str,
        plan: RolloutPlan,
        targets: tuple[str, ...] = (),
    ) -> ReleaseRef:
        """Put a bundle on a channel's list as the next version. Twice the same is one release.

        Raises:
            GateError: this very bundle was delisted.
            KeyFileError: a key that must sign is not here.
            DiskFullError: no room; the repository is as before.
        """
        digest = digest_of(manifest)
        with self._locked():
            listing = read_list(self.folder, name, channel)
            _refuse_delisted(listing, digest)
            known = listing.find(digest)
            version = known.version if known else _next_version(listing)
            line = Listed(
                version=version, digest=digest, size=len(manifest), plan=plan, targets=targets
            )
            if known != line:
                others = [other for other in listing.releases if other.version != version]
                releases = tuple(sorted([*others, line], key=lambda item: item.version))
                files = {f"{channel}/_{name}.{version}.json": manifest}
                self._list(listing.model_copy(update={"releases": releases}), files)
        return ReleaseRef(name=name, channel=channel, version=version, digest=digest)

    def listing(self, name: str, channel: str) -> ChannelList:
        """What the channel lists now."""
        return read_list(self.folder, name, channel)

    def delist(self, name: str, channel: str, version: int) -> None:
        """Take a release off the list: no device installs it any more.

        Raises:
            NotListedError: the list has no such version.
        """
        with self._locked():
            listing = read_list(self.folder, name, channel)
            bad = _line(listing, version)
            releases = tuple(line for line in listing.releases if line.version != version)
            delisted = (*listing.delisted, Delisted(version=version, digest=bad.digest))
            self._list(listing.model_copy(update={"releases": releases, "delisted": delisted}), {})

    def set_floor(self, name: str, channel: str, version: int) -> None:
        """Let no device of the channel install anything older than ``version``.

        Raises:
            NotListedError: the list has no such version.
        """
        with self._locked():
            listing = read_list(self.folder, name, channel)
            _line(listing, version)
            self._list(listing.model_copy(update={"floor": version}), {})

    def refresh(self) -> list[str]:
        """Sign every role anew whose key is here, before it expires; gives the roles.

        Snapshot and timestamp live for 14 days, channels for 90, root and targets, whose keys may
        be offline, for a year.

        Raises:
            KeyFileError: the key of snapshot or timestamp is not here.
        """
        with self._locked():
            top: Metadata[Targets] = self._load("targets")
            delegated = top.signed.delegations.roles if top.signed.delegations else {}
            present = [role for role in (delegated or {}) if self._has_key(role)]
            changed = {role: self._renew(role, self._load(role)) for role in present}
            if self._has_key("targets"):
                changed["targets"] = self._renew("targets", top)
            if self._has_key("root"):
                self._renew("root", self._load("root"))
                present.append("root")
            self._sign_snapshot(changed)
        return sorted({*present, *changed, "snapshot", "timestamp"})

    def _has_key(self, role: str) -> bool:
        return (self.keys / f"{role}.pem").is_file()

    def _renew(self, role: str, metadata: Metadata[Any]) -> int:
        """The next version of a role, signed; gives its number."""
        metadata.signed.version += 1
        metadata.signed.expires = self._expiry(role if role in ROLES else "channel")
        self._save(role, metadata)
        version: int = metadata.signed.version
        return version

    def _list(self, listing: ChannelList, files: Mapping[str, bytes]) -> None:
        role: Metadata[Targets] = self._load(listing.channel)
        text = json.dumps(listing.model_dump(mode="json"), sort_keys=True).encode()
        listed = f"{listing.channel}/{listing.name}.json"
        for path, data in {**files, listed: text}.items():
            role.signed.targets[path] = _target_file(path, data)
            self._write(self._targets / _hashed(path, data), data)
        self._sign_snapshot({listing.channel: self._renew(listing.channel, role)})

    def _sign_snapshot(self, changed: Mapping[str, int]) -> None:
        """The next snapshot, with the versions that changed, and the timestamp that names it."""
        snapshot: Metadata[Snapshot] = self._load("snapshot")
        timestamp: Metadata[Timestamp] = self._load("timestamp")
        for role, version in changed.items():
            snapshot.signed.meta[f"{role}.json"] = _meta_file(version)
        for metadata, role in ((snapshot, "snapshot"), (timestamp, "timestamp")):
            metadata.signed.version += 1
            metadata.signed.expires = self._expiry(role)
        timestamp.signed.snapshot_meta = _meta_file(snapshot.signed.version)
        self._save("snapshot", snapshot)
        self._save("timestamp", timestamp)

    def _load(self, role: str) -> Metadata[Any]:
        from tuf.api.metadata import Metadata

        return Metadata.from_bytes((self._metadata / self._file(role)).read_bytes())

    def _file(self, role: str) -> str:
        """The file of a role as the timestamp and the snapshot name it.

        What a killed publication left beside them is not looked at, and is written over.
        """
        if role == "timestamp":
            return "timestamp.json"
        if role == "root":
            found = self._metadata.glob("*.root.json")
            return max(found, key=lambda path: int(path.name.partition(".")[0])).name
        named = self._load("timestamp").signed.snapshot_meta.version
        if role != "snapshot":
            named = self._load("snapshot").signed.meta[f"{role}.json"].version
        return f"{named}.{role}.json"

    def _save(self, role: str, metadata: Metadata[Any]) -> None:
        key = signer(self.keys, role)
        self._check_trusted(role, key.public_key.keyid)
        metadata.sign(key)
        prefix = "" if role == "timestamp" else f"{metadata.signed.version}."
        self._write(self._metadata / f"{prefix}{role}.json", metadata.to_bytes())

    def _check_trusted(self, role: str, key: str) -> None:
        """Sign nothing with a key that devices do not trust: they would refuse the channel."""
        if not (self._metadata / "timestamp.json").exists():
            return  # the first metadata says which keys are trusted
        if role in ROLES:
            trusted = self._load("root").signed.roles[role].keyids
        else:
            delegations = self._load("targets").signed.delegations
            roles = delegations.roles if delegations and delegations.roles else {}
            trusted = (
                roles[role].keyids if role in roles else [key]
            )  # a channel that is being added
        if key not in trusted:
            raise KeyFileError(
                f"key file {self.keys / role}.pem",
                "must be the key that devices trust for it",
                got=f"key {key[:8]}",
                todo=f"Put the file of key {trusted[0][:8]} back; nothing was published",
            )

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as fault:
            temporary.unlink(missing_ok=True)
            if fault.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise DiskFullError(
                f"repository {self.folder}",
                f"must have room for {path.name}",
                todo="Free space and run again; what is published stays as it was",
            ) from fault
        temporary.replace(path)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _expiry(self, role: str) -> datetime:
        now = datetime.fromtimestamp(self._clock.now(), UTC).replace(microsecond=0)
        return now + timedelta(days=EXPIRES_DAYS[role])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def read_list(folder: Path, name: str, channel: str) -> ChannelList:
    """What the repository in ``folder`` lists now; an empty list for a name that it does not know.

    For the side that owns the repository: signatures are not checked here, devices check them.

    Raises:
        NotListedError: the folder is no repository, or has no such channel.
        SignatureError: the list does not have the hash that the channel's role signs.
    """
    from tuf.api.metadata import Metadata

    def load(name: str) -> Any:
        return Metadata.from_bytes((folder / "metadata" / name).read_bytes()).signed

    try:
        snapshot = load(f"{load('timestamp.json').snapshot_meta.version}.snapshot.json")
        role = load(f"{snapshot.meta[f'{channel}.json'].version}.{channel}.json")
    except (FileNotFoundError, KeyError) as fault:
        raise NotListedError(
            f"channel {channel!r} in {folder}", "must exist", todo="Run `edgeloop release keys`"
        ) from fault
    target = role.targets.get(f"{channel}/{name}.json")
    if target is None:
        return ChannelList(name=name, channel=channel)
    digest = target.hashes["sha256"]
    data = (folder / "targets" / channel / f"{digest}.{name}.json").read_bytes()
    if sha256(data).hexdigest() != digest:
        raise SignatureError(f"list of {channel}/{name}", "must have the hash that was signed")
    return ChannelList.model_validate_json(data)


def _line(listing: ChannelList, version: int) -> Listed:
    for line in listing.releases:
        if line.version == version:
            return line
    versions = ", ".join(str(line.version) for line in listing.releases) or "none"
    raise NotListedError(
        f"release {version} of {listing.channel}/{listing.name}",
        "must be on the channel's list",
        got=f"versions {versions}",
    )


def _next_version(listing: ChannelList) -> int:
    listed = [line.version for line in listing.releases]
    return 1 + max([*listed, *(line.version for line in listing.delisted)], default=0)


def _refuse_delisted(listing: ChannelList, digest: str) -> None:
    """A bad release does not come back by running its loop again."""
    for line in listing.delisted:
        if line.digest == digest:
            raise GateError(
                f"bundle {digest}",
                "must not have been delisted",
                got=f"it was release {line.version} of {listing.channel}/{listing.name}",
                todo="Change the loop: the same bundle is never released again",
            )


def _hashed(path: str, data: bytes) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{sha256(data).hexdigest()}.{name}"


def _delegate(top: Targets, channel: str, key: Any) -> None:
    from tuf.api.metadata import DelegatedRole, Delegations

    role = DelegatedRole(channel, [], 1, terminating=True, paths=[f"{channel}/*"])
    if top.delegations is None:
        top.delegations = Delegations(keys={}, roles={})
    if top.delegations.roles is None:
        top.delegations.roles = {}
    top.delegations.roles[channel] = role
    top.add_key(key.public_key, channel)


def _meta_file(version: int) -> Any:
    from tuf.api.metadata import MetaFile

    return MetaFile(version)


def _target_file(path: str, data: bytes) -> Any:
    from tuf.api.metadata import TargetFile

    return TargetFile.from_data(path, data, ["sha256"])
