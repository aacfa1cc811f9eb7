"""An OCI image layout on disk: blobs by digest, tags in ``index.json``, every write atomic.

A blob is written to ``.tmp/``, synced, renamed into place; ``index.json`` likewise, under a lock.
A kill at any point leaves at worst a file in ``.tmp/`` that the next ``gc`` removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from edgeloop import durable
from edgeloop.errors import ArtifactMissingError, DigestError, StoreBusyError
from edgeloop.store.manifest import INDEX_TYPE, MANIFEST_TYPE, canonical

REF_NAME = "org.opencontainers.image.ref.name"
CHUNK = 1 << 20
LOCK_SECONDS = 30.0
TODO = "Free space or run `edgeloop gc`; nothing was changed"


class Layout:
    """The blobs and tags under ``folder``, which is made when it is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._temporary = folder / ".tmp"
        self._index = folder / "index.json"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._temporary.mkdir(exist_ok=True)
        if not self._index.exists():
            with self.locked():
                if not self._index.exists():
                    self._write(folder / "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
                    self._point({}, {})

    # blobs

    def put_bytes(self, data: bytes) -> tuple[str, int]:
        """Keep ``data``; gives its digest and size."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if not path.exists() or path.read_bytes() != data:  # a damaged one is made good
            self._write(path, data)
        return digest, len(data)

    def put_file(self, source: Path) -> tuple[str, int]:
        """Keep a copy of a file; gives its digest and size."""
        with self._saving(source.name) as target, source.open("rb") as stream:
            hasher, size = hashlib.sha256(), 0
            while chunk := stream.read(CHUNK):
                hasher.update(chunk)
                target.write(chunk)
                size += len(chunk)
            digest = "sha256:" + hasher.hexdigest()
            self._settle(target, self._path(digest))
        return digest, size

    def blob(self, digest: str) -> Path:
        """Where a blob lies.

        Raises:
            ArtifactMissingError: it is not here.
        """
        path = self._path(digest)
        if not path.is_file():
            raise ArtifactMissingError(
                f"blob {digest}",
                f"must be in the store {self.folder}",
                todo="Run `edgeloop verify`",
            )
        return path

    def __contains__(self, digest: str) -> bool:
        return self._path(digest).is_file()

    def check_size(self, digest: str, size: int) -> None:
        """Raise unless a blob is here and has ``size`` bytes.

        Raises:
            ArtifactMissingError: it is not here.
            DigestError: it has another size.
        """
        got = self.blob(digest).stat().st_size
        if got != size:
            raise DigestError(f"blob {digest}", f"must have {size} bytes", got=got)

    def hashed(self, digest: str) -> str:
        """The digest that a blob's bytes have now."""
        hasher = hashlib.sha256()
        with self.blob(digest).open("rb") as stream:
            while chunk := stream.read(CHUNK):
                hasher.update(chunk)
        return "sha256:" + hasher.hexdigest()

    def check(self, digest: str) -> None:
        """Read a blob and raise unless it is what its digest names.

        Raises:
            ArtifactMissingError: it is not here.
            DigestError: the bytes on disk have changed.
        """
        got = self.hashed(digest)
        if got != digest:
            raise DigestError(
                f"blob {digest}", "must have the bytes that its digest names", got=got
            )

    def read(self, digest: str) -> bytes:
        """A small blob's bytes, with the digest checked.

        Raises:
            ArtifactMissingError: it is not here.
            DigestError: the bytes on disk have changed.
        """
        data = self.blob(digest).read_bytes()
        got = "sha256:" + hashlib.sha256(data).hexdigest()
        if got != digest:
            raise DigestError(
                f"blob {digest}", "must have the bytes that its digest names", got=got
            )
        return data

    def digests(self) -> Iterator[str]:
        """Every blob, in order of its name."""
        for path in sorted(self._blobs.iterdir()):
            yield f"sha256:{path.name}"

    def remove(self, digest: str) -> int:
        """Delete a blob; gives the bytes that were freed."""
        path = self._path(digest)
        size = path.stat().st_size
        path.unlink()
        return size

    # tags

    def tags(self) -> dict[str, str]:
        """Name -> digest of every root."""
        return self._entries(MANIFEST_TYPE)

    def referrers(self) -> dict[str, str]:
        """Digest of an artifact -> digest of the index that lists what refers to it."""
        named = self._entries(INDEX_TYPE)
        return {name.replace("-", ":", 1): digest for name, digest in named.items()}

    def _entries(self, kind: str) -> dict[str, str]:
        try:
            entries = json.loads(self._index.read_bytes())["manifests"]
            chosen = [entry for entry in entries if entry["mediaType"] == kind]
            return {e["annotations"][REF_NAME]: e["digest"] for e in chosen}
        except (ValueError, KeyError, TypeError) as fault:
            raise DigestError(
                str(self._index),
                "must be the index of an OCI layout whose roots have names",
                got=repr(fault),
                todo="Remove it and run the loop again, which names its releases anew",
            ) from fault

    def tag(self, name: str, digest: str) -> None:
        """Make ``digest`` a root under ``name``, in place of what had that name."""
        with self.locked():
            self.point({**self.tags(), name: digest}, self.referrers())

    def untag(self, name: str) -> None:
        """Take a root away; nothing happens when there is none of that name."""
        with self.locked():
            tags = {n: d for n, d in self.tags().items() if n != name}
            self.point(tags, self.referrers())

    def point(self, tags: dict[str, str], referrers: dict[str, str]) -> None:
        """Make these the roots and referrers, and no others; the caller holds the writers' lock."""
        if (tags, referrers) != (self.tags(), self.referrers()):
            self._point(tags, referrers)

    # locks

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the writers' lock."""
        with self._lock("lock", fcntl.LOCK_EX, "write to it"):
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Say that a run is under way, so that nothing is collected from under it."""
        with self._lock("use", fcntl.LOCK_SH, "run"):
            yield

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Hold the store while no run is under way."""
        with self._lock("use", fcntl.LOCK_EX, "collect garbage"):
            yield

    @contextmanager
    def _lock(self, name: str, how: int, what: str) -> Iterator[None]:
        deadline = time.monotonic() + LOCK_SECONDS
        with (self.folder / f".{name}").open("a") as handle:
            while True:
                try:
                    fcntl.flock(handle, how | fcntl.LOCK_NB)
                    break
                except BlockingIOError as fault:
                    if time.monotonic() > deadline:
                        raise StoreBusyError(
                            f"store {self.folder}",
                            f"must be free to {what}, waited {LOCK_SECONDS:.0f} s",
                            todo="Wait for the other edgeloop process, or end it",
                        ) from fault
                    time.sleep(0.02)
            yield

    # writing

    def sweep(self) -> None:
        """Remove what killed writers left; only while nobody writes."""
        with self.locked():
            for path in self._temporary.iterdir():
                path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        algorithm, _, name = digest.partition(":")
        if algorithm != "sha256" or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise ArtifactMissingError(f"digest {digest!r}", "must be sha256: and 64 hex digits")
        return self._blobs / name

    def _point(self, tags: dict[str, str], referrers: dict[str, str]) -> None:
        indexes = {  # one that was lost is made again by the next run, and must not stop it
            subject.replace(":", "-"): digest
            for subject, digest in referrers.items()
            if digest in self
        }
        manifests = [
            {
                "mediaType": kind,
                "digest": digest,
                "size": self.blob(digest).stat().st_size,
                "annotations": {REF_NAME: name},
            }
            for kind, named in ((MANIFEST_TYPE, tags), (INDEX_TYPE, indexes))
            for name, digest in sorted(named.items())
        ]
        self._write(self._index, canonical({"schemaVersion": 2, "manifests": manifests}))

    def _write(self, path: Path, data: bytes) -> None:
        with self._saving(path.name) as target:
            target.write(data)
            self._settle(target, path)

    @contextmanager
    def _saving(self, what: str) -> Iterator[IO[bytes]]:
        """A new file in ``.tmp``; what is not renamed from there is removed."""
        with (
            durable.room(self.folder / what, thing=f"store {self.folder}", todo=TODO),
            NamedTemporaryFile(dir=self._temporary, delete=False) as target,
        ):
            try:
                yield target
            finally:
                Path(target.name).unlink(missing_ok=True)

    def _settle(self, target: IO[bytes], path: Path) -> None:
        target.flush()
        os.fsync(target.fileno())
        Path(target.name).chmod(0o644)
        durable.settle(Path(target.name), path)
