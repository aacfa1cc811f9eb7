"""What hangs on an artifact without being part of it: OCI 1.1 referrers.

A paper (a signature, a bill of materials, a finding) is a manifest whose ``subject`` is the
artifact's. The artifact's papers are listed by an index which ``index.json`` names with the
fallback tag that the specification gives, ``sha256-<hex of the subject>``. No paper is an artifact:
none is a root, a parent, or found by a step's key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgeloop.errors import StoreError
from edgeloop.store.layout import Layout
from edgeloop.store.manifest import INDEX_TYPE, MANIFEST_TYPE, TITLE, canonical
from edgeloop.types import Json

ABOUT = "edgeloop.about"  # annotation of the papers that are replaced together
EMPTY_TYPE, EMPTY = "application/vnd.oci.empty.v1+json", b"{}"


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One file about an artifact."""

    name: str
    media_type: str
    data: bytes = field(repr=False)


def attach(layout: Layout, subject: str, about: str, papers: Sequence[Paper]) -> None:
    """Let these be the papers of ``subject`` ``about`` a thing; papers about others stay.

    Raises:
        ArtifactMissingError: the subject is not here.
        DiskFullError: no room; the papers are as they were.
    """
    with layout.locked():
        target = _descriptor(layout, subject, MANIFEST_TYPE)
        others = [one for one in _listed(layout, subject) if _about(one) != about]
        lines = [*others, *(_keep(layout, target, about, paper) for paper in papers)]
        told = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": lines}
        digest, _ = layout.put_bytes(canonical(told))
        layout.point(layout.tags(), {**layout.referrers(), subject: digest})


def papers(layout: Layout, subject: str, about: str) -> list[Paper]:
    """The papers of ``subject`` about a thing that are whole; damaged ones are left out."""
    found: list[Paper] = []
    for line in _listed(layout, subject):
        if _about(line) == about:
            found += _read(layout, line["digest"])
    return found


def of_type(layout: Layout, subject: str, media_type: str) -> list[Paper]:
    """All whole papers of ``subject`` of a type, whatever they are about."""
    found: list[Paper] = []
    for line in _listed(layout, subject):
        if line.get("artifactType") == media_type:
            found += _read(layout, line["digest"])
    return found


def blobs(layout: Layout, index: str) -> list[str]:
    """Every blob of the papers that an index lists, itself among them.

    What a damaged manifest named is not known any more.
    """
    found = [index]
    for line in _lines(layout, index):
        found += [line["digest"], *blobs_in(layout, line["digest"])]
    return found


def blobs_in(layout: Layout, manifest: str) -> list[str]:
    """The blobs that a manifest names; none when it is damaged itself."""
    try:
        told = json.loads(layout.read(manifest))
    except StoreError:
        return []
    return [item["digest"] for item in (told["config"], *told["layers"])]


def _keep(layout: Layout, subject: Json, about: str, paper: Paper) -> Json:
    """Keep a paper and its manifest; gives the manifest's descriptor, as an index lists it."""
    config, _ = layout.put_bytes(EMPTY)
    content, _ = layout.put_bytes(paper.data)
    notes = {ABOUT: about, TITLE: paper.name}
    named = {"annotations": {TITLE: paper.name}}
    told = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": paper.media_type,
        "config": _descriptor(layout, config, EMPTY_TYPE),
        "layers": [{**_descriptor(layout, content, paper.media_type), **named}],
        "subject": subject,
        "annotations": notes,
    }
    digest, _ = layout.put_bytes(canonical(told))
    listed = {"artifactType": paper.media_type, "annotations": notes}
    return {**_descriptor(layout, digest, MANIFEST_TYPE), **listed}


def _read(layout: Layout, manifest: str) -> Iterator[Paper]:
    try:
        (layer,) = json.loads(layout.read(manifest))["layers"]
        data = layout.read(layer["digest"])
    except StoreError:
        return
    yield Paper(name=layer["annotations"][TITLE], media_type=layer["mediaType"], data=data)


def _listed(layout: Layout, subject: str) -> list[Json]:
    index = layout.referrers().get(subject)
    return [] if index is None else _lines(layout, index)


def _lines(layout: Layout, index: str) -> list[Json]:
    """What an index lists; nothing when it is damaged: the next run writes it anew."""
    try:
        lines: list[Json] = json.loads(layout.read(index))["manifests"]
    except StoreError:
        return []
    return lines


def _about(line: Json) -> str | None:
    about: str | None = line.get("annotations", {}).get(ABOUT)
    return about


def _descriptor(layout: Layout, digest: str, media_type: str) -> dict[str, Json]:
    size = layout.blob(digest).stat().st_size
    return {"mediaType": media_type, "digest": digest, "size": size}
