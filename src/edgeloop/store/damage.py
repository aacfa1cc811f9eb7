"""What a disk has done to a store: which blobs are damaged or missing, and who needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgeloop.errors import ArtifactMissingError, DigestError, StoreError
from edgeloop.store.index import Index
from edgeloop.store.layout import Layout
from edgeloop.store.referrers import blobs, blobs_in

AGAIN = "the next `edgeloop run` makes it again"
COPY = "or copy it back from another store or registry"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One blob; ``got`` is the digest that its bytes have, None where there are none.

    ``artifacts`` have it among their files, or are it; ``tags`` came from one of those.
    """

    blob: str
    got: str | None
    artifacts: tuple[str, ...]
    tags: tuple[str, ...]

    def __str__(self) -> str:
        return str(self._fault())

    def _fault(self) -> StoreError:
        short = ", ".join(artifact[7:19] for artifact in self.artifacts) or "no artifact"
        of = f"It is of {short}" + (f", for {', '.join(self.tags)}" if self.tags else "")
        if self.got is None:
            rule = "must be in the store"
            return ArtifactMissingError(f"blob {self.blob}", rule, todo=f"{of}; {AGAIN}, {COPY}")
        rule, removed = "must have the bytes that its digest names", "`edgeloop verify --repair`"
        todo = f"{of}; {removed} removes it and {AGAIN}, {COPY}"
        return DigestError(f"blob {self.blob}", rule, got=self.got, todo=todo)


def find_damage(layout: Layout, index: Index) -> list[Damage]:
    """Hash every blob, and look for every blob that an artifact or a tag names."""
    needed = _needed(layout, index)
    tags = {name: index.reached(digest) for name, digest in layout.tags().items()}
    found = {name: got for name in layout.digests() if (got := layout.hashed(name)) != name}
    missing = {blob: None for blob in needed if blob not in layout}
    return [
        Damage(
            blob=blob,
            got=got,
            artifacts=tuple(sorted(needed.get(blob, ()))),
            tags=tuple(_reaching(tags, needed.get(blob, set()))),
        )
        for blob, got in sorted({**found, **missing}.items())
    ]


def _needed(layout: Layout, index: Index) -> dict[str, set[str]]:
    """Blob -> the artifacts that need it, or whose papers do."""
    needed: dict[str, set[str]] = {}
    for artifact in {*index.digests(), *layout.tags().values()}:
        for blob in (artifact, *blobs_in(layout, artifact)):
            needed.setdefault(blob, set()).add(artifact)
    for subject, papers in layout.referrers().items():
        for blob in blobs(layout, papers):
            needed.setdefault(blob, set()).add(subject)
    return needed


def _reaching(tags: dict[str, set[str]], artifacts: Iterable[str]) -> Iterator[str]:
    return (name for name, reached in sorted(tags.items()) if not reached.isdisjoint(artifacts))
