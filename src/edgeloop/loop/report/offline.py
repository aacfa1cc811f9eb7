"""The offline half of a report: releases, checks, trainings and lineage, from the store."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgeloop.errors import UnknownPluginError
from edgeloop.loop.report import evidence, variants
from edgeloop.loop.report.checklines import check_line
from edgeloop.loop.report.facts import Node, Promise, ReleaseFacts, Training
from edgeloop.plugins import get
from edgeloop.release import deltas
from edgeloop.release.bundle import BundleInfo
from edgeloop.store.artifacts import Store
from edgeloop.store.manifest import layers_of
from edgeloop.types import Artifact, Finding

QUALITY = "quality"


def bundles(store: Store, name: str, channel: str) -> dict[int, Artifact]:
    """Version -> bundle of every release that the store has a tag for, oldest first."""
    tag = re.compile(rf"{re.escape(name)}-{re.escape(channel)}-([0-9]+)")
    found = {
        int(match[1]): digest
        for text, digest in store.layout.tags().items()
        if (match := tag.fullmatch(text))
    }
    return {version: store.open(found[version]) for version in sorted(found)}


def release(store: Store, version: int, bundle: Artifact) -> ReleaseFacts:
    """One release, with the findings that its bundle was made from."""
    every = _findings(store, bundle)
    findings = [one for one in every if not one.variant]
    declared = BundleInfo.model_validate(bundle.meta).declared
    saw, unread = evidence.read(findings)
    return ReleaseFacts(
        version=version,
        digest=bundle.digest,
        size=sum(_layers(store, bundle).values()),
        checks=tuple(check_line(one) for one in findings),
        declared=tuple(
            Promise(
                profile=one.profile,
                rows=one.rows,
                disagreement=one.disagreement if one.against else None,
                claims=one.claims,
            )
            for one in declared
        ),
        saw=saw,
        variants=variants.facts(bundle, every),
        unread=unread,
    )


def _findings(store: Store, bundle: Artifact) -> list[Finding]:
    parents = [store.open(parent) for parent in bundle.parents]
    return [Finding.from_meta(one.meta) for one in parents if one.kind == "finding"]


def measure(found: Mapping[int, Artifact]) -> str:
    """What the newest release's answer kind calls quality; "quality" where it is not installed."""
    if not found:
        return QUALITY
    model = BundleInfo.model_validate(found[max(found)].meta).model
    try:
        kind = get("answer", model["answer"]["kind"])
    except UnknownPluginError:
        return QUALITY
    return str(kind.quality_name)


def blobs(store: Store, found: Mapping[int, Artifact]) -> dict[int, dict[str, int]]:
    """Version -> the blobs that a device fetches for it, digest -> bytes."""
    return {version: _layers(store, bundle) for version, bundle in found.items()}


def shortcuts(store: Store, found: Mapping[int, Artifact]) -> dict[int, dict[str, deltas.Kept]]:
    """Version -> the deltas that lead to it, by digest."""
    return {version: deltas.kept(store, bundle.digest) for version, bundle in found.items()}


def _layers(store: Store, bundle: Artifact) -> dict[str, int]:
    named, description = layers_of(store.layout.read(bundle.digest), bundle.digest)
    return {layer.digest: layer.size for layer in (*named, description)}


def trainings(store: Store, found: Mapping[int, Artifact]) -> tuple[Training, ...]:
    """Every recipe step that a release came from, oldest first, with its curves."""
    built: dict[str, tuple[Artifact, list[int]]] = {}
    for version, bundle in found.items():
        for artifact in store.own_lineage(bundle.digest)[0]:
            if artifact.made_by.plugin.startswith("recipe/"):
                built.setdefault(artifact.digest, (artifact, []))[1].append(version)
    return tuple(_training(artifact, versions) for artifact, versions in built.values())


def _training(artifact: Artifact, versions: list[int]) -> Training:
    notes = artifact.meta.get("notes", {})
    curves = notes.get("curves", {})
    return Training(
        digest=artifact.digest,
        plugin=artifact.made_by.plugin.removeprefix("recipe/"),
        releases=tuple(versions),
        fine_tuned=bool(notes.get("fine_tuned", False)),
        curves={name: tuple(float(v) for v in curve) for name, curve in sorted(curves.items())},
    )


def lineage(store: Store, found: Mapping[int, Artifact]) -> tuple[Node, ...]:
    """What the newest release came from, parents before children; its checks are one box."""
    if not found:
        return ()
    newest = found[max(found)]
    versions = {bundle.digest: version for version, bundle in found.items()}
    artifacts = store.lineage(newest.digest)
    here = {artifact.digest for artifact in artifacts}  # gc may have removed what lies behind
    box = {a.digest: f"checks {a.parents[0]}" for a in artifacts if a.kind == "finding"}
    nodes: dict[str, Node] = {}
    for artifact in artifacts:
        key = box.get(artifact.digest, artifact.digest)
        kept = (parent for parent in artifact.parents if parent in here)
        parents = tuple(dict.fromkeys(box.get(parent, parent) for parent in kept))
        before = nodes.get(key)
        if before is not None:
            parents = tuple(dict.fromkeys((*before.parents, *parents)))
        many = sum(name == key for name in box.values())
        nodes[key] = _node(key, artifact, parents, versions.get(artifact.digest), many)
    return tuple(nodes.values())


def _node(
    key: str, artifact: Artifact, parents: tuple[str, ...], version: int | None, many: int
) -> Node:
    plugin = artifact.made_by.plugin.rpartition("/")[2]
    if artifact.kind == "finding":
        title = "1 check" if many == 1 else f"{many} checks"
        return Node(id=key, kind="checks", title=title, detail="", parents=parents, release=None)
    rows = f" · {artifact.meta['rows']} rows" if artifact.kind == "snapshot" else ""
    title = plugin if version is None else f"release {version}"
    return Node(
        id=key,
        kind=artifact.kind,
        title=title,
        detail=artifact.digest[7:19] + rows,
        parents=parents,
        release=version,
    )
