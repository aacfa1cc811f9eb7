"""The first keys and metadata of a repository, and those of a channel that is added later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeloop.release import keys
from edgeloop.release.keys import ROLES
from edgeloop.release.roles import Roles, meta_file

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Targets


def begin(roles: Roles, channels: tuple[str, ...]) -> None:
    """Make the first keys and the first metadata."""
    from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

    signers = keys.generate(roles.keys, (*ROLES, *channels))
    root = Root(expires=roles.expiry("root"), consistent_snapshot=True)
    for role in ROLES:
        root.add_key(signers[role].public_key, role)
    top = Targets(expires=roles.expiry("targets"))
    snapshot = Snapshot(expires=roles.expiry("snapshot"))
    for channel in channels:
        delegate(top, channel, signers[channel])
        snapshot.meta[f"{channel}.json"] = meta_file(1)
    firsts: dict[str, Any] = {"root": root, "targets": top, "snapshot": snapshot}
    firsts |= {channel: Targets(expires=roles.expiry(channel)) for channel in channels}
    for role, signed in firsts.items():
        roles.save(role, Metadata(signed), (signers[role],))
    timestamp = Metadata(Timestamp(expires=roles.expiry("timestamp")))
    roles.save("timestamp", timestamp, (signers["timestamp"],))


def add_channels(roles: Roles, channels: tuple[str, ...]) -> None:
    """Delegate to the channels that the repository does not have yet."""
    from tuf.api.metadata import Metadata, Targets

    new = tuple(channel for channel in channels if channel not in roles.channels())
    if not new:
        return
    top: Metadata[Targets] = roles.load("targets")
    signers = keys.generate(roles.keys, new)
    for channel in new:
        delegate(top.signed, channel, signers[channel])
        first = Metadata(Targets(expires=roles.expiry(channel)))
        roles.save(channel, first, (signers[channel],))
    roles.publish({**dict.fromkeys(new, 1), "targets": roles.renew("targets", top)})


def delegate(top: Targets, channel: str, key: CryptoSigner) -> None:
    """Let a channel's key sign for the channel's files alone."""
    from tuf.api.metadata import DelegatedRole, Delegations

    role = DelegatedRole(channel, [], 1, terminating=True, paths=[f"{channel}/*"])
    if top.delegations is None:
        top.delegations = Delegations(keys={}, roles={})
    if top.delegations.roles is None:
        top.delegations.roles = {}
    top.delegations.roles[channel] = role
    top.add_key(key.public_key, channel)
