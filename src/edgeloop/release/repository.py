"""The signed side of releases: a TUF repository whose channels list what a device may install.

One delegated role per channel. ``<channel>/<name>.json`` is the channel's list
(:class:`ChannelList`: versions, digests, floor, rollout plan of each), and
``<channel>/_<name>.<version>.json`` each bundle's manifest; both are TUF targets. New files are
written first and ``timestamp.json`` last, so that a kill leaves the old repository whole.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import GateError, NotListedError, OverrideError, SignatureError
from edgeloop.protocol.messages import ChannelList, Delisted, Delta, Listed, ReleaseRef, RolloutPlan
from edgeloop.release import ceremony, model_key
from edgeloop.release.beginning import add_channels, begin
from edgeloop.release.draft import number
from edgeloop.release.keys import ROLES
from edgeloop.release.roles import KeyLine, Roles
from edgeloop.release.rotation import rotate
from edgeloop.store.manifest import digest_of

if TYPE_CHECKING:
    from securesystemslib.signer import Key
    from tuf.api.metadata import Metadata, Targets

    from edgeloop.release.ceremony import Change
    from edgeloop.release.draft import Draft

RESERVED = (*ROLES, model_key.NAME)  # each channel has a key of its name, in the same folder

WITH_DELTAS = 4  # lines of a channel's list, from its end


class Repository:
    """Publishes to the repository in ``folder`` with the keys in ``keys``."""

    def __init__(self, folder: Path, keys: Path, clock: Clock | None = None) -> None:
        self.folder, self.keys = folder, keys
        self._targets = folder / "targets"
        self._roles = Roles(folder, keys, clock or SystemClock())

    def create(self, channels: tuple[str, ...]) -> None:
        """Make keys and first metadata where there are none, and add channels that are new.

        Raises:
            OverrideError: a channel has the name of another key.
        """
        _refuse_reserved(channels)
        with self._locked():
            if self._roles.exists():
                add_channels(self._roles, channels)
            else:
                begin(self._roles, channels)

    def root(self) -> bytes:
        """The newest root metadata: what a new device is given to trust."""
        return self._roles.newest_root()

    def root_number(self) -> str:
        """The newest root as holders compare it: its version, and a number of its own."""
        root = self._roles.load("root")
        return f"version {root.signed.version}, number {number(root)}"

    def keys_of_roles(self) -> list[KeyLine]:
        """Every role with its keys, whether these are here, and until when signatures count."""
        signing = model_key.line(self.keys)
        return [*self._roles.lines(), *([signing] if signing else [])]

    def rotate(self, names: Sequence[str]) -> None:
        """Replace the keys of these roles; devices trust the old ones no more.

        ``model-signing`` may be among them; devices do not ask for that one.

        Raises:
            OverrideError: there is no role of that name.
            KeyFileError: a key that must sign is not here; nothing was changed.
            ThresholdError: several holders must sign; nothing was changed.
        """
        roles = [name for name in names if name != model_key.NAME]
        with self._locked():
            if roles:
                rotate(self._roles, roles)
            if len(roles) < len(names):
                model_key.rotate(self.keys)

    def holders(self, role: str) -> list[Key]:
        """The keys that devices trust for root or targets."""
        root = self._roles.load("root").signed
        return [root.get_key(keyid) for keyid in root.roles[role].keyids]

    def draft(self, change: Change) -> Draft:
        """A change of what holders sign, for them to sign; nothing is published.

        Raises:
            OverrideError: there is no such role.
        """
        _refuse_reserved(change.channels)
        with self._locked():
            return ceremony.draft(self._roles, change)

    def publish_draft(self, drafted: Draft) -> None:
        """Publish what enough holders have signed; can be repeated after a kill.

        Raises:
            ThresholdError: signatures are missing; nothing was changed.
            DraftError: the repository has changed since it was drafted.
            KeyFileError: a key that is kept here and must sign is missing.
        """
        with self._locked():
            ceremony.publish(self._roles, drafted)

    def publish(
        self,
        manifest: bytes,
        *,
        name: str,
        channel: str,
        plan: RolloutPlan,
        targets: tuple[str, ...] = (),
        needs: tuple[str, ...] = (),
        alternatives: tuple[tuple[str, ...], ...] = (),
        deltas: tuple[Delta, ...] = (),
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
                version=version,
                digest=digest,
                size=len(manifest),
                plan=plan,
                targets=targets,
                needs=needs,
                alternatives=alternatives,
                deltas=deltas,
            )
            if known != line:
                others = [other for other in listing.releases if other.version != version]
                releases = _short(sorted([*others, line], key=lambda item: item.version))
                files = {f"{channel}/_{name}.{version}.json": manifest}
                self._list(listing.model_copy(update={"releases": releases}), files)
        return ReleaseRef(name=name, channel=channel, version=version, digest=digest)

    def listing(self, name: str, channel: str) -> ChannelList:
        """What the channel lists now."""
        return read_list(self.folder, name, channel)

    def release(self, name: str, channel: str, version: int) -> ReleaseRef:
        """One release that the channel lists now.

        Raises:
            NotListedError: the list has no such version.
        """
        line = _line(read_list(self.folder, name, channel), version)
        return ReleaseRef(name=name, channel=channel, version=version, digest=line.digest)

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
        be offline, for a year. What several holders sign is left to a draft of theirs.

        Raises:
            KeyFileError: the key of snapshot or timestamp is not here.
        """
        roles = self._roles
        with self._locked():
            names = ("targets", *roles.channels())
            present = [role for role in names if roles.signs_alone(role)]
            changed = {role: roles.renew(role, roles.load(role)) for role in present}
            if roles.signs_alone("root"):
                roles.renew("root", roles.load("root"))
                present.append("root")
            roles.publish(changed)
        return sorted({*present, "snapshot", "timestamp"})

    def _list(self, listing: ChannelList, files: Mapping[str, bytes]) -> None:
        role: Metadata[Targets] = self._roles.load(listing.channel)
        text = json.dumps(listing.model_dump(mode="json"), sort_keys=True).encode()
        listed = f"{listing.channel}/{listing.name}.json"
        for path, data in {**files, listed: text}.items():
            role.signed.targets[path] = _target_file(path, data)
            self._roles.write(self._targets / _hashed(path, data), data)
        self._roles.publish({listing.channel: self._roles.renew(listing.channel, role)})

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


def read_lists(folder: Path) -> list[ChannelList]:
    """What the repository in ``folder`` lists now, of every model and channel.

    Raises:
        NotListedError: the folder is no repository.
        SignatureError: as for :func:`read_list`.
    """
    names = [
        (path.name.split(".", 1)[1].removesuffix(".json"), path.parent.name)
        for path in sorted((folder / "targets").glob("*/*.json"))
    ]
    models = {(name, channel) for name, channel in names if not name.startswith("_")}
    return [read_list(folder, name, channel) for name, channel in sorted(models)]


def _refuse_reserved(channels: tuple[str, ...]) -> None:
    reserved = sorted(set(channels) & set(RESERVED))
    if reserved:
        rule = f"must not be one of {', '.join(RESERVED)}"
        raise OverrideError(f"channel {reserved[0]!r}", rule, todo="Other keys have these names")


def _short(lines: Sequence[Listed]) -> tuple[Listed, ...]:
    """Only the newest lines keep their deltas: every device fetches the list when it changes."""
    old, new = lines[:-WITH_DELTAS], lines[-WITH_DELTAS:]
    return (*(line.model_copy(update={"deltas": ()}) for line in old), *new)


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


def _target_file(path: str, data: bytes) -> Any:
    from tuf.api.metadata import TargetFile

    return TargetFile.from_data(path, data, ["sha256"])
