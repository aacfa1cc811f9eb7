"""The bill of materials of a release: CycloneDX 1.6 JSON, from what the store knows of its making.

No dates and no random numbers: the same release has the same bytes. Devices that gave rows are
counted, not named, since a bill of materials is handed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release.bundle import BundleInfo, DeclaredProfile
from edgeloop.store.manifest import canonical
from edgeloop.types import Artifact, Finding, Json, Layer

BILL_TYPE = "application/vnd.cyclonedx+json"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
UNKNOWN = "not stated"
SPDX = frozenset(  # ids that data and weights of ours have; other licences go by their text
    {"Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-3.0", "CC0-1.0", "MIT"}
)


def bill(ref: ReleaseRef, made_of: Sequence[Artifact], layers: Sequence[Layer]) -> bytes:
    """The bill of a release: ``made_of`` is its bundle's own lineage, ``layers`` what it installs.

    The bundle is the last of ``made_of``.
    """
    data = [_data(one) for one in made_of if one.made_by.plugin.startswith("source/")]
    beginnings = _once(_beginning(one) for one in made_of if _begins(one))
    libraries = _once(_library(*pair) for one in made_of for pair in one.made_by.libraries.items())
    parts = [*data, *beginnings, *(one for one in libraries if one["version"] != "absent")]
    model = _model(ref, made_of, layers, [one["bom-ref"] for one in data])
    told: dict[str, Json] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"tools": {"components": [_tool()]}, "component": model},
        "components": parts,
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": sorted(one["bom-ref"] for one in parts)}
        ],
    }
    number = uuid5(NAMESPACE_URL, canonical(told).decode())
    return json.dumps({**told, "serialNumber": f"urn:uuid:{number}"}, indent=1).encode() + b"\n"


def _tool() -> Json:
    return {"type": "application", "name": "edgeloop", "version": version("edgeloop")}


def _model(
    ref: ReleaseRef, made_of: Sequence[Artifact], layers: Sequence[Layer], data: Sequence[str]
) -> Json:
    """The release itself, with its files and its model card."""
    info = BundleInfo.model_validate(made_of[-1].meta)
    about = {
        "channel": ref.channel,
        "bundle": ref.digest,
        "runtime": info.runtime,
        "steps": ", ".join(info.steps),
        "targets": ", ".join(info.targets),
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": ref.digest,
        "name": ref.name,
        "version": str(ref.version),
        "hashes": _hashes(ref.digest),
        "components": [_file(one.name, one.digest) for one in layers],
        "modelCard": {
            "modelParameters": _parameters(info, made_of, data),
            "quantitativeAnalysis": {"performanceMetrics": _metrics(info, made_of)},
            "properties": _properties(_limits(made_of)),
        },
        "properties": _properties(about),
    }


def _parameters(info: BundleInfo, made_of: Sequence[Artifact], data: Sequence[str]) -> Json:
    recipes = [one for one in made_of if one.made_by.plugin.startswith("recipe/")]
    built = info.model["notes"].get("architecture")
    named = [built] if isinstance(built, str) else [one.made_by.plugin for one in recipes[-1:]]
    return {
        "task": info.model["answer"]["kind"],
        **({"modelArchitecture": named[0]} if named else {}),
        "datasets": [{"ref": one} for one in data],
        "inputs": [
            {"format": f"{one['name']}: {one['dtype']}{one['shape']}"}
            for one in info.model["inputs"]
        ],
        "outputs": [{"format": info.model["answer"]["kind"]}],
    }


def _findings(made_of: Sequence[Artifact]) -> list[Finding]:
    """What was found of the released model itself, in the order of the checks."""
    parents = made_of[-1].parents
    found = {one.digest: one for one in made_of if one.kind == "finding"}
    return [Finding.from_meta(found[digest].meta) for digest in parents if digest in found]


def _metrics(info: BundleInfo, made_of: Sequence[Artifact]) -> list[Json]:
    """What checks measured, and what the bundle declares of each profile."""
    checked = [_metric(one, one.value) for one in _findings(made_of) if one.value is not None]
    return [*checked, *(line for one in info.declared for line in _declared(one))]


def _metric(finding: Finding, value: float) -> Json:
    name = f"{finding.title}, {finding.unit}" if finding.unit else finding.title
    line = {"type": name, "value": _number(value)}
    if finding.interval is None:
        return line
    lower, upper = map(_number, finding.interval)
    return {**line, "confidenceInterval": {"lowerBound": lower, "upperBound": upper}}


def _declared(one: DeclaredProfile) -> Iterator[Json]:
    claims = dict(one.claims)
    if one.against is not None:
        claims[f"disagreement with {one.against}"] = one.disagreement
    for name, value in sorted(claims.items()):
        yield {"type": name, "value": _number(value), "slice": one.profile}


def _limits(made_of: Sequence[Artifact]) -> Mapping[str, str]:
    """CycloneDX has no place for a verdict and a limit beside a metric: they stand here."""
    return {f"finding:{one.check}": _verdict(one) for one in _findings(made_of)}


def _verdict(finding: Finding) -> str:
    limit = f", limit {finding.limit}" if finding.limit else ""
    return str(finding.verdict) + limit + (f" ({finding.reason})" if finding.reason else "")


def _data(snapshot: Artifact) -> Json:
    """A data set with where it came from, as far as its source told."""
    told = snapshot.meta["provenance"]
    about = {
        "rows": str(snapshot.meta["rows"]),
        "source": str(told.get("source") or told.get("origin") or ""),
        "devices": str(len(_mapping(told, "devices")) or ""),
    }
    return {
        "type": "data",
        "bom-ref": snapshot.digest,
        "name": snapshot.meta["name"],
        "hashes": _hashes(snapshot.digest),
        **_licence(told),
        **_origin(told),
        "data": [{"type": "dataset", "name": snapshot.meta["name"]}],
        "properties": _properties(about),
    }


def _begins(artifact: Artifact) -> bool:
    """Whether a recipe began with weights that others made."""
    notes = artifact.meta.get("notes", {})
    begun = "file_sha256" in notes or _mapping(notes, "pretrained")
    return artifact.made_by.plugin.startswith("recipe/") and bool(begun)


def _beginning(model: Artifact) -> Json:
    """The weights that a recipe began with, as its model's notes tell."""
    notes, params = model.meta["notes"], model.made_by.params
    told = _mapping(notes, "pretrained") or notes
    digest = f"sha256:{notes.get('file_sha256')}"
    whole = bool(DIGEST.fullmatch(digest))
    name = told.get("name") or told.get("source") or params.get("file") or model.made_by.plugin
    return {
        "type": "machine-learning-model",
        "bom-ref": f"pretrained:{name}" + (f"@{digest}" if whole else ""),
        "name": str(name),
        **({"hashes": _hashes(digest)} if whole else {}),
        **_licence(told),
        **_origin(told),
    }


def _library(name: str, release: str) -> Json:
    plain = re.sub(r"[-_.]+", "-", name).lower()  # as the package index compares names
    purl = f"pkg:pypi/{plain}@{quote(release)}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": release, "purl": purl}


def _origin(told: Mapping[str, Any]) -> Json:
    """The citation, and the files with their digests where the source named them."""
    files = sorted(_mapping(told, "files").items())
    named = [_file(name, digest) for name, digest in files if DIGEST.fullmatch(str(digest))]
    return {
        **({"description": str(told["citation"])} if told.get("citation") else {}),
        **({"components": named} if named else {}),
    }


def _licence(told: Mapping[str, Any]) -> Json:
    """A licence that was not stated is left out, which in CycloneDX means unknown."""
    text = str(told.get("licence") or UNKNOWN)
    if text == UNKNOWN:
        return {}
    return {"licenses": [{"license": {"id" if text in SPDX else "name": text}}]}


def _mapping(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One of the things that a source told; plugins of others may tell it in another form."""
    found = told.get(name)
    return found if isinstance(found, Mapping) else {}


def _file(name: str, digest: str) -> Json:
    return {"type": "file", "name": name, "hashes": _hashes(digest)}


def _hashes(digest: str) -> Json:
    return [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]


def _properties(values: Mapping[str, str]) -> list[Json]:
    named = sorted((name, str(value)) for name, value in values.items() if value)
    return [{"name": f"edgeloop:{name}", "value": value} for name, value in named]


def _number(value: float) -> str:
    return f"{value:.12g}"


def _once(parts: Iterator[Json]) -> list[Json]:
    """Each part once, in the order of its name in the bill."""
    found = {one["bom-ref"]: one for one in parts}
    return [found[name] for name in sorted(found)]
