"""Artifacts as OCI image manifests: the rules, without a disk.

An artifact is an image manifest (OCI image-spec 1.1) whose layers are its files, named by the
``org.opencontainers.image.title`` annotation, and whose *description* (kind, meta, parents, how it
was made) is a blob of its own media type: the config, or for a bundle, whose config is the CNCF
ModelPack's, a layer. Canonical JSON throughout, no dates: equal content has an equal digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from edgeloop.errors import DigestError
from edgeloop.types import Json, Layer, MadeBy

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DESCRIPTION_TYPE = "application/vnd.edgeloop.artifact.v1+json"
MODELPACK_TYPE = "application/vnd.cncf.model.manifest.v1+json"
MODELPACK_CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
MODELPACK_WEIGHT_TYPE = "application/vnd.cncf.model.weight.v1.raw"
FILE_TYPE = "application/octet-stream"
TITLE = "org.opencontainers.image.title"
NO_MANIFEST = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
WEIGHT_ENDINGS = (".onnx", ".safetensors", ".tflite", ".gguf")


def canonical(value: Json) -> bytes:
    """The one JSON form of a value: sorted keys, no spaces, UTF-8; refuses NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(data: bytes) -> str:
    """``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def describe(kind: str, meta: Json, parents: Sequence[str], made_by: MadeBy) -> bytes:
    """The description blob of an artifact."""
    return canonical(
        {"kind": kind, "meta": meta, "parents": list(parents), "made_by": asdict(made_by)}
    )


def media_type(name: str) -> str:
    """ModelPack's type for weights, so that foreign tools find them; plain bytes for the rest."""
    return MODELPACK_WEIGHT_TYPE if name.endswith(WEIGHT_ENDINGS) else FILE_TYPE


def compose(kind: str, description: Layer, layers: Sequence[Layer], config: Layer | None) -> bytes:
    """The manifest of an artifact; its sha256 is the artifact's name.

    With ``config`` (a ModelPack config) the description becomes the last layer.
    """
    blobs = [_descriptor(layer) for layer in layers]
    if config is not None:
        blobs.append(_descriptor(description))
    top = {k: v for k, v in _descriptor(config or description).items() if k != "annotations"}
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": MODELPACK_TYPE if config else f"application/vnd.edgeloop.{kind}.v1",
            "config": top,
            "layers": blobs or [top],
        }
    )


def modelpack_config(name: str, layers: Sequence[Layer]) -> bytes:
    """The config that the CNCF ModelPack specification asks for."""
    return canonical(
        {
            "descriptor": {"name": name},
            "config": {"format": "onnx"},
            "modelfs": {"type": "layers", "diffIds": [layer.digest for layer in layers]},
        }
    )


def layers_of(manifest: bytes, digest: str) -> tuple[tuple[Layer, ...], Layer]:
    """The named layers of a manifest, and its description.

    Raises:
        DigestError: the bytes do not have this digest, or are not a manifest of an artifact.
    """
    if digest_of(manifest) != digest:
        raise DigestError(
            f"manifest {digest}", "must have the digest that names it", got=digest_of(manifest)
        )
    try:
        parsed = json.loads(manifest)
        blobs = [_layer(parsed["config"]), *(_layer(item) for item in parsed["layers"])]
    except NO_MANIFEST as fault:
        raise DigestError(
            f"manifest {digest}", "must be an OCI image manifest", got=repr(fault)
        ) from fault
    described = [blob for blob in blobs if blob.media_type == DESCRIPTION_TYPE]
    if not described:
        raise DigestError(
            f"manifest {digest}", f"must describe itself by a blob of type {DESCRIPTION_TYPE}"
        )
    named = tuple(blob for blob in blobs[1:] if blob.name and blob.media_type != DESCRIPTION_TYPE)
    return named, described[0]


def _descriptor(layer: Layer) -> dict[str, Json]:
    descriptor: dict[str, Json] = {
        "mediaType": layer.media_type,
        "digest": layer.digest,
        "size": layer.size,
    }
    if layer.name:
        descriptor["annotations"] = {TITLE: layer.name}
    return descriptor


def _layer(descriptor: Mapping[str, Json]) -> Layer:
    return Layer(
        name=str(descriptor.get("annotations", {}).get(TITLE, "")),
        digest=str(descriptor["digest"]),
        size=int(descriptor["size"]),
        media_type=str(descriptor["mediaType"]),
    )
