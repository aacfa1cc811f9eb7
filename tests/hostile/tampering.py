"""Ways to tamper with what a device is served of a release: each gives path -> what comes instead.

A drawn way may not apply to a drawn file (a bit of a blob that is not fetched); then it gives
nothing, and another is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from edgeloop.protocol import keys

if TYPE_CHECKING:
    from edgeloop.release.repository import Repository

Lies = Mapping[str, bytes | None]
ROLES = ("timestamp", "snapshot", "targets", "stable")


@dataclass(kw_only=True)
class Served:
    """What a device will ask for, by path; ``older``: role -> what was served of it before."""

    repository: Repository
    metadata: dict[str, str]  # role -> path
    lists: dict[str, Path]  # path -> file: the list, the manifest
    blobs: dict[str, Path]  # path -> file, of those that the device does not have
    older: dict[str, bytes] = field(default_factory=dict)

    def content(self, path: str) -> bytes:
        known = {**self.lists, **self.blobs}
        if path in known:
            return known[path].read_bytes()
        return (self.repository.folder / path.removeprefix("/tuf/")).read_bytes()

    @property
    def paths(self) -> list[str]:
        return [*self.metadata.values(), *self.lists, *self.blobs]


def flipped(served: Served, draw: Random) -> Lies:
    """One bit. The case of a hex digit says nothing, so such a flip is no tampering."""
    path = draw.choice(served.paths)
    data = served.content(path)
    bad = bytearray(data)
    bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
    return {} if bad.lower() == data.lower() else {path: bytes(bad)}


def added(served: Served, draw: Random) -> Lies:
    path = draw.choice(served.paths)
    return {path: served.content(path) + draw.randbytes(draw.randrange(1, 100))}


def removed(served: Served, draw: Random) -> Lies:
    return {draw.choice(served.paths): None}


def truncated(served: Served, draw: Random) -> Lies:
    path = draw.choice(served.paths)
    data = served.content(path)
    return {path: data[: draw.randrange(len(data))]}


def renamed(served: Served, draw: Random) -> Lies:
    """One file of a kind under the name of another."""
    one, other = draw.sample(served.paths, 2)
    return {one: served.content(other)}


def swapped(served: Served, draw: Random) -> Lies:
    one, other = draw.sample(served.paths, 2)
    return {one: served.content(other), other: served.content(one)}


def replayed(served: Served, draw: Random) -> Lies:
    role = draw.choice(ROLES)
    return {served.metadata[role]: served.older[role]}


def by_a_wrong_key(served: Served, draw: Random) -> Lies:
    from securesystemslib.signer import CryptoSigner

    role = draw.choice(ROLES)
    metadata = served.repository._roles.load(role)
    metadata.signatures.clear()
    metadata.sign(CryptoSigner(keys.generate()))
    return {served.metadata[role]: metadata.to_bytes()}


def expired(served: Served, draw: Random) -> Lies:
    """By the right key, for a time that is over."""
    role = draw.choice(ROLES)
    roles = served.repository._roles
    metadata = roles.load(role)
    metadata.signed.expires -= timedelta(days=draw.randrange(366, 3660))
    metadata.sign(roles.signer(role))
    return {served.metadata[role]: metadata.to_bytes()}


def with_another_file(served: Served, draw: Random) -> Lies:
    """A manifest that names one more file, or a list that names one more release."""
    path = draw.choice(list(served.lists))
    told = json.loads(served.content(path))
    if "layers" in told:
        told["layers"].append({**told["layers"][0], "digest": "sha256:" + "0" * 64})
    else:
        told["releases"].append({**told["releases"][0], "version": 99})
    return {path: json.dumps(told).encode()}


WAYS: tuple[Callable[[Served, Random], Lies], ...] = (
    flipped, added, removed, truncated, renamed, swapped, replayed, by_a_wrong_key, expired,
    with_another_file,
)  # fmt: skip
