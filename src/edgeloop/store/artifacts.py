"""The store: artifacts by digest and by step key, over one layout and one index."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.errors import ArtifactMissingError, DigestError
from edgeloop.store.damage import Damage, find_damage
from edgeloop.store.index import Index
from edgeloop.store.layout import Layout
from edgeloop.store.manifest import (
    DESCRIPTION_TYPE,
    MODELPACK_CONFIG_TYPE,
    compose,
    describe,
    layers_of,
    media_type,
    modelpack_config,
)
from edgeloop.store.referrers import blobs
from edgeloop.types import Artifact, Keepable, Layer, MadeBy

logger = logging.getLogger(__name__)

LARGEST_MANIFEST = 4 << 20  # bytes; what registries accept
HASHED = 64 << 20  # bytes; a file up to this is hashed before a run takes it, in some 100 ms


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a garbage collection removed."""

    artifacts: int
    blobs: int
    bytes: int


class Store:
    """Artifacts under ``folder``; a folder that is not there becomes an empty store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder)
        path = folder / "edgeloop.sqlite"
        try:
            self._index = Index(path)
        except sqlite3.DatabaseError as fault:  # broken; all that it says is in the layout as well
            logger.warning("store.index_broken folder=%s fault=%s", folder, fault)
            path.unlink()
            self._index = Index(path)
        if not self._index.whole():
            self.rebuild()

    def keep(self, value: Keepable, made_by: MadeBy, parents: Sequence[str] = ()) -> Artifact:
        """Make an artifact of ``value``. The same content gives the same digest.

        Raises:
            DiskFullError: no room; nothing was added that anything refers to.
        """
        with self.layout.locked():
            layers = [self._keep_file(name, path) for name, path in sorted(value.files.items())]
            blob = describe(value.kind, value.to_meta(), parents, made_by)
            description = self._keep_bytes("description.json", DESCRIPTION_TYPE, blob)
            config = self._modelpack(value, layers, description)
            digest, _ = self.layout.put_bytes(compose(value.kind, description, layers, config))
            artifact = self.open(digest)
            self._index.add(artifact)
        return artifact

    def open(self, digest: str) -> Artifact:
        """The artifact of a digest, or of an unambiguous beginning of one.

        Raises:
            ArtifactMissingError: it is not here, or the beginning fits several.
            DigestError: its manifest or description has changed on disk.
        """
        digest = self._whole(digest)
        layers, description = layers_of(self.layout.read(digest), digest)
        told = json.loads(self.layout.read(description.digest))
        for layer in layers:
            self.layout.check_size(layer.digest, layer.size)
        return Artifact(
            digest=digest,
            kind=told["kind"],
            meta=told["meta"],
            layers=layers,
            parents=tuple(told["parents"]),
            made_by=MadeBy(**told["made_by"]),
            files={layer.name: self.layout.blob(layer.digest) for layer in layers},
        )

    def has(self, digest: str) -> bool:
        """Whether an artifact's manifest is here."""
        return digest in self.layout

    def by_key(self, key: str) -> Artifact | None:
        """What a step of this key made before; None when it must run.

        A result with a missing or damaged file counts as not made. Of a file larger than
        ``HASHED`` only the size is looked at; :meth:`verify` reads all of it.
        """
        digest = self._index.by_key(key)
        if digest is None:
            return None
        try:
            artifact = self.open(digest)
            for layer in artifact.layers:
                if layer.size <= HASHED:
                    self.layout.check(layer.digest)
        except (ArtifactMissingError, DigestError) as fault:
            logger.warning("store.damaged digest=%s fault=%s", digest, fault)
            return None
        return artifact

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """Every artifact, oldest first."""
        return [self.open(digest) for digest in self._index.digests(kind)]

    def children(self, digest: str) -> list[Artifact]:
        """Artifacts that were made directly from this one."""
        return [self.open(child) for child in self._index.children(digest)]

    def lineage(self, digest: str) -> list[Artifact]:
        """An artifact and all that it came from, parents before children.

        What :meth:`collect` removed behind a bundle that was only compared with is left out.
        """
        ordered: dict[str, Artifact] = {}

        def visit(name: str) -> None:
            if name in ordered:
                return
            artifact = self.open(name)
            for parent in filter(self.has, artifact.parents):
                visit(parent)
            ordered[name] = artifact

        visit(self._whole(digest))
        return list(ordered.values())

    def own_lineage(self, digest: str) -> tuple[list[Artifact], list[str]]:
        """An artifact and what it was made of, parents first; and the bundles it was compared with.

        A release is a parent of the one that is compared with it, but not what that one is made
        of: its own data, checks and model are another story.
        """
        compared: list[str] = []
        ordered: dict[str, Artifact] = {}

        def visit(artifact: Artifact) -> None:
            for parent in map(self.open, filter(self.has, artifact.parents)):
                if parent.kind == "bundle":
                    compared.append(parent.digest)
                elif parent.digest not in ordered:
                    visit(parent)
            ordered[artifact.digest] = artifact

        visit(self.open(digest))
        return list(ordered.values()), sorted(set(compared))

    def rebuild(self) -> int:
        """Make the index anew from the layout; gives the number of artifacts."""
        self.layout.sweep()
        return self._index.replace(self._found())

    def verify(self) -> list[Damage]:
        """Every blob that is damaged or missing, with who needs it; empty when all is well."""
        return find_damage(self.layout, self._index)

    def remove_damaged(self, damage: Sequence[Damage]) -> None:
        """Remove the blobs whose bytes changed, so that their steps count as not made."""
        with self.layout.unused(), self.layout.locked():
            for one in damage:
                if one.got is not None:
                    self.layout.remove(one.blob)

    def collect(self, keep: Sequence[str] = (), gone: Sequence[str] = ()) -> Collected:
        """Remove every artifact that neither a tag nor one of ``keep`` is made of.

        A bundle that one of them was compared with stays, since it is compared with again when the
        same loop runs; what that bundle was made of goes. What refers to an artifact stays or goes
        with it. ``gone`` are tags to take away first.

        Raises:
            StoreBusyError: a run is under way.
            ArtifactMissingError: one of ``keep`` is not here, or the store has no root at all.
        """
        self.layout.sweep()
        with self.layout.unused(), self.layout.locked():
            tags = {name: digest for name, digest in self.layout.tags().items() if name not in gone}
            roots = {*tags.values(), *(self._whole(name) for name in keep)}
            if not roots:
                raise ArtifactMissingError(
                    f"store {self.folder}",
                    "must have a root to collect for, yet index.json names none",
                    todo="Run `edgeloop run` again, which names its releases anew",
                )
            alive = self._alive(roots)
            papers = {of: index for of, index in self.layout.referrers().items() if of in alive}
            self.layout.point(tags, papers)
            used = self._used(alive.values(), papers.values())
            dead = [digest for digest in self._index.digests() if digest not in alive]
            self._index.forget(dead)
            rest = [digest for digest in self.layout.digests() if digest not in used]
            freed = sum(self.layout.remove(digest) for digest in rest)
        return Collected(artifacts=len(dead), blobs=len(rest), bytes=freed)

    def _alive(self, roots: Iterable[str]) -> dict[str, Artifact]:
        alive: dict[str, Artifact] = {}
        for root in roots:
            made_of, compared = self.own_lineage(root)
            alive |= {artifact.digest: artifact for artifact in made_of}
            alive |= {digest: self.open(digest) for digest in compared}
        return alive

    def _used(self, artifacts: Iterable[Artifact], papers: Iterable[str]) -> set[str]:
        """The blobs of these artifacts, and of what refers to them."""
        used = {blob for artifact in artifacts for blob in self._blobs_of(artifact)}
        return used | {blob for index in papers for blob in blobs(self.layout, index)}

    def _blobs_of(self, artifact: Artifact) -> list[str]:
        manifest = json.loads(self.layout.read(artifact.digest))
        inner = [item["digest"] for item in (manifest["config"], *manifest["layers"])]
        return [artifact.digest, *inner]

    def _found(self) -> Iterator[Artifact]:
        for digest in self.layout.digests():
            if not _may_be_manifest(self.layout.blob(digest)):
                continue
            try:
                yield self.open(digest)
            except (ArtifactMissingError, DigestError):  # a description, a file, or damaged
                continue

    def _whole(self, digest: str) -> str:
        prefix = digest.removeprefix("sha256:")
        if len(prefix) == 64:
            return f"sha256:{prefix}"
        tagged = self.layout.tags().get(digest)
        if tagged is not None:
            return tagged
        fits = self._index.starting_with(prefix) if prefix else []
        if len(fits) != 1:
            raise ArtifactMissingError(
                f"artifact {digest!r}",
                "must be a tag, a digest or the beginning of one",
                got=f"{len(fits)} that fit",
                todo="See `edgeloop ls`",
            )
        return fits[0]

    def _keep_file(self, name: str, path: Path) -> Layer:
        digest, size = self.layout.put_file(path)
        return Layer(name=name, digest=digest, size=size, media_type=media_type(name))

    def _keep_bytes(self, name: str, kind: str, data: bytes) -> Layer:
        digest, size = self.layout.put_bytes(data)
        return Layer(name=name, digest=digest, size=size, media_type=kind)

    def _modelpack(self, value: Keepable, layers: list[Layer], description: Layer) -> Layer | None:
        if value.kind != "bundle":
            return None
        config = modelpack_config(value.to_meta()["name"], [*layers, description])
        return self._keep_bytes("", MODELPACK_CONFIG_TYPE, config)


def _may_be_manifest(path: Path) -> bool:
    with path.open("rb") as stream:
        return path.stat().st_size <= LARGEST_MANIFEST and stream.read(1) == b"{"
