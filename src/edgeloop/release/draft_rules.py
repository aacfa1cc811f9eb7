"""What root and targets metadata of edgeloop may say, so that no draft asks for more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeloop.release.holders import HOLDER, MOST_KEYS, NAME
from edgeloop.release.keys import ROLES
from edgeloop.release.trusted_time import SIGNED_AT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from securesystemslib.signer import Key, SSlibKey
    from tuf.api.metadata import Role, Root, Signed, Targets

CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as protocol.messages has it
ONLINE = ("snapshot", "timestamp")


def refuse_odd_root(root: Root) -> Iterator[str]:
    """What root says that it may not."""
    yield from _odd_fields(root)
    if not root.consistent_snapshot:
        yield "root without consistent snapshots"
    for name in ROLES:
        role = root.roles[name]
        yield from _odd_role(name, role, root.keys)
        if name in ONLINE and role.threshold != 1:
            yield f"threshold {role.threshold} for {name}, which one key signs"
    used = {keyid for role in root.roles.values() for keyid in role.keyids}
    if used != set(root.keys):
        yield "root with keys that no role uses, or roles whose keys are missing"
    yield from _odd_keys(root.keys)


def refuse_odd_targets(targets: Targets) -> Iterator[str]:
    """What targets say that they may not."""
    yield from _odd_fields(targets)
    if targets.targets:
        yield "files that targets list themselves: channels do that"
    if targets.delegations is None:
        return
    if targets.delegations.succinct_roles is not None or targets.delegations.unrecognized_fields:
        yield "delegations of another kind than channels"
    for name, role in (targets.delegations.roles or {}).items():
        if not isinstance(name, str) or not CHANNEL.fullmatch(name) or name in ROLES:
            yield f"a channel named {str(name)[:64]!r}"
            return
        if role.paths != [f"{name}/*"] or role.path_hash_prefixes or role.terminating is not True:
            yield f"channel {name[:64]!r} with files that are not its own"
        yield from _odd_role(name, role, targets.delegations.keys)
        if role.threshold != 1:
            yield f"threshold {role.threshold} for channel {name[:64]!r}, which one key signs"
    yield from _odd_keys(targets.delegations.keys)


def _odd_fields(signed: Signed) -> Iterator[str]:
    # repositories from before there was such a time have none
    if set(signed.unrecognized_fields) - {SIGNED_AT}:
        yield f"{signed.type} with fields that edgeloop does not write"


def _odd_role(name: str, role: Role, keys: Mapping[str, Key]) -> Iterator[str]:
    if (
        isinstance(role.threshold, bool)
        or not role.threshold <= len(role.keyids) <= MOST_KEYS
        or set(role.keyids) - set(keys)
    ):
        yield f"{name[:64]!r} with {len(role.keyids)} keys, of which {role.threshold} must sign"
    if role.unrecognized_fields:
        yield f"{name[:64]!r} with fields that edgeloop does not write"


def _odd_keys(keys: Mapping[str, Key]) -> Iterator[str]:
    """A key's id is its hash, so that one key does not count twice; a name is one key's."""
    from securesystemslib.signer import SSlibKey

    names: set[str] = set()
    for key in keys.values():
        if not isinstance(key, SSlibKey) or key.keytype != "ed25519":
            yield "a key of another kind than Ed25519"
            return
        if set(key.unrecognized_fields) - {HOLDER}:
            yield "a key with fields that edgeloop does not write"
        name = key.unrecognized_fields.get(HOLDER, "nobody")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield "a holder whose name is none"
            return
        if key.keyid != _hashed(key):
            yield f"key {key.keyid[:8]!r} under the name of another"
        folded = name.casefold()  # who reads the names aloud says no capitals
        if HOLDER in key.unrecognized_fields and folded in names:
            yield f"two keys whose holders are both called {folded!r}"
        names.add(folded)


def _hashed(key: SSlibKey) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey

    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(str(key.keyval["public"])))
    except (ValueError, UnsupportedAlgorithm, KeyError):
        return ""
    return SSlibKey.from_crypto(public).keyid
