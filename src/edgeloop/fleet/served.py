"""Knows which blobs belong to signed releases, and so may be served to anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeloop.store.manifest import MANIFEST_TYPE, digest_of

Stamp = tuple[int, int]  # of timestamp.json: it is replaced when anything is signed


class Served:
    """Manifest, config, layers and deltas of every bundle that the repository's channels sign.

    A delisted bundle's stay, since they were given out with its signature. What those blobs name,
    as the description names its parents, is not followed: training data and field samples lie in
    the same layout.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._known: tuple[Stamp | None, frozenset[str]] = (None, frozenset())

    def __contains__(self, digest: object) -> bool:
        """Whether the blob ``sha256:<hex>`` may be served now."""
        return digest in self._digests()

    def _digests(self) -> frozenset[str]:
        try:
            about = (self._repository / "metadata" / "timestamp.json").stat()
        except FileNotFoundError:
            return frozenset()
        stamp = (about.st_mtime_ns, about.st_ino)
        known = self._known
        if known[0] != stamp:
            known = self._known = (stamp, frozenset(self._read()))
        return known[1]

    def _read(self) -> Iterator[str]:
        timestamp = self._role("timestamp.json")
        snapshot = self._role(f"{timestamp['meta']['snapshot.json']['version']}.snapshot.json")
        for name, meta in snapshot["meta"].items():
            targets = self._role(f"{meta['version']}.{name}").get("targets", {})
            for path, target in targets.items():
                yield from self._of(path, target["hashes"]["sha256"])

    def _role(self, name: str) -> Any:
        return json.loads((self._repository / "metadata" / name).read_bytes())["signed"]

    def _of(self, path: str, sha256: str) -> Iterator[str]:
        folder, _, name = path.rpartition("/")
        data = (self._repository / "targets" / folder / f"{sha256}.{name}").read_bytes()
        manifest = json.loads(data)
        if manifest.get("mediaType") != MANIFEST_TYPE:  # a channel's list
            for line in manifest["releases"]:
                yield from (delta["digest"] for delta in line.get("deltas", ()))
            return
        yield digest_of(data)
        yield manifest["config"]["digest"]
        yield from (layer["digest"] for layer in manifest["layers"])
