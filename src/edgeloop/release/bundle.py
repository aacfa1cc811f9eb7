"""What a device installs: the rules of a bundle's manifest and description, and how it is read.

A bundle is an artifact of kind ``bundle``: the model's files, ``description.json`` (which holds
:class:`BundleInfo`), golden samples in ``golden.zip`` (``in.<input>``, ``out.<output>``), and for
each declared profile of inputs the sketches ``profile-<n>.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from edgeloop import arrayfiles
from edgeloop.answers.worse import Declared
from edgeloop.errors import BundleError, DigestError, ProtocolError
from edgeloop.sketches.profile import Profile
from edgeloop.store import manifest as oci
from edgeloop.types import Json, Layer, Model

if TYPE_CHECKING:
    from edgeloop.store.artifacts import Store
    from edgeloop.types import Array

FORMAT = 1
DESCRIPTION = "description.json"
GOLDEN = "golden.zip"
MOST_LAYERS = 64
MOST_BYTES = 8 << 30  # of all layers together
MOST_MANIFEST = 4 << 20
TEXTS = TypeAdapter(dict[str, str])
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


Share = Annotated[float, Field(ge=0, le=1)]


class Golden(_Frozen):
    """Samples whose answers the device must reproduce before a slot takes over.

    ``tolerance`` is per execution class of the device (``any`` where none is named), in the unit of
    the answer kind's parity; ``share`` of the rows must be within it.
    """

    rows: Annotated[int, Field(ge=1)]
    tolerance: dict[str, float]
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class DeviceLimits(_Frozen):
    """What the bundle may cost on a device; None is no limit."""

    latency_ms: float | None = None  # p95 of one answer
    memory_mb: float | None = None  # peak of the session


class DeclaredProfile(_Frozen):
    """What was measured offline on one population of inputs; ``against`` is the release before."""

    profile: str
    rows: int
    disagreement: Share
    claims: dict[str, Share] = {}  # the answer kind's own, by name
    against: str | None = None


class BundleInfo(_Frozen):
    """The meta of a bundle artifact."""

    format: int = FORMAT
    name: str
    runtime: str
    steps: tuple[str, ...] = ()  # of the model's program, the runtime's own left out
    targets: tuple[str, ...] = ()
    signals: dict[str, str] = {}  # input -> summary of sketches.features
    golden: Golden
    limits: DeviceLimits = DeviceLimits()
    declared: tuple[DeclaredProfile, ...] = ()
    model: dict[str, Any]

    @property
    def needs(self) -> tuple[str, ...]:
        """What a device must have installed."""
        return (self.runtime, *self.steps)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened bundle whose files lie on this disk."""

    digest: str
    info: BundleInfo
    files: Mapping[str, Path] = field(repr=False)

    @property
    def model(self) -> Model:
        """The graph as a model that a runtime loads."""
        return Model.from_meta(self.info.model, self.files)

    def golden_samples(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Inputs and the answers that were recorded for them, ``[rows, ...]`` each.

        Raises:
            BundleError: the file is broken.
        """
        try:
            packed = arrayfiles.unpack(self.files[GOLDEN])
        except (ValueError, OSError) as fault:
            raise BundleError(f"{GOLDEN} of bundle {self.digest}", str(fault)) from fault
        return _named(packed, "in."), _named(packed, "out.")

    def references(self) -> dict[str, Profile]:
        """Profile name -> the sketches of its inputs and of this bundle's answers to them.

        Raises:
            BundleError: a file is broken.
        """
        return {
            declared.profile: self._reference(f"profile-{n}.json")
            for n, declared in enumerate(self.info.declared)
        }

    def _reference(self, name: str) -> Profile:
        try:
            return Profile.from_json(TEXTS.validate_json(self.files[name].read_bytes()))
        except (ValueError, OSError, ProtocolError) as fault:
            raise BundleError(
                f"{name} of bundle {self.digest}", "must hold sketches", got=fault
            ) from fault

    def declared_for(self, profile: str, against: str | None) -> Declared | None:
        """What was declared of a profile; its disagreement only if against ``against``."""
        for line in self.info.declared:
            if line.profile == profile:
                return Declared(
                    profile=line.profile,
                    rows=line.rows,
                    disagreement=line.disagreement if line.against == against else None,
                    claims=line.claims,
                )
        return None


def _named(packed: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {n.removeprefix(prefix): v for n, v in packed.items() if n.startswith(prefix)}


@dataclass(frozen=True, kw_only=True)
class BundleDraft:
    """A bundle before the store has named it."""

    info: BundleInfo
    files: Mapping[str, Path]
    kind: str = "bundle"

    def to_meta(self) -> Json:
        """The bundle's information as JSON."""
        return self.info.model_dump(mode="json")


def layers_of(manifest: bytes, digest: str) -> tuple[Layer, ...]:
    """What must be fetched for a bundle, the description included.

    Raises:
        BundleError: the manifest has another digest, is no bundle's, or breaks a rule of names,
            number or size.
    """
    thing = f"bundle {digest}"
    if len(manifest) > MOST_MANIFEST:
        raise BundleError(
            thing, f"must have a manifest of at most {MOST_MANIFEST} bytes", got=len(manifest)
        )
    try:
        named, description = oci.layers_of(manifest, digest)
    except DigestError as fault:
        raise BundleError(thing, "must have a whole manifest", got=fault) from fault
    layers = (*named, description)
    names = [layer.name for layer in layers]
    broken = [name for name in names if not PLAIN_NAME.fullmatch(name)]
    if broken:
        raise BundleError(thing, "must have plain file names", got=repr(broken[0]))
    if len(set(names)) != len(names) or description.name != DESCRIPTION:
        raise BundleError(thing, f"must have one file of each name and {DESCRIPTION}", got=names)
    if len(layers) > MOST_LAYERS:
        raise BundleError(thing, f"must have at most {MOST_LAYERS} files", got=len(layers))
    if min(layer.size for layer in layers) < 0 or sum(layer.size for layer in layers) > MOST_BYTES:
        sizes = sum(layer.size for layer in layers)
        raise BundleError(thing, f"must have at most {MOST_BYTES} bytes", got=sizes)
    return layers


def open_bundle(digest: str, files: Mapping[str, Path]) -> Bundle:
    """Read a bundle from its files, the description among them.

    Raises:
        BundleError: the description is missing, broken, or of a later format.
    """
    thing = f"bundle {digest}"
    try:
        told = json.loads(files[DESCRIPTION].read_bytes())
        info = BundleInfo.model_validate(told["meta"])
        missing = [GOLDEN, *(f"profile-{n}.json" for n in range(len(info.declared)))]
    except KeyError as fault:
        raise BundleError(thing, "must have", got=f"no {fault}") from fault
    except (ValueError, TypeError, RecursionError) as fault:  # pydantic's are ValueErrors
        raise BundleError(thing, "must have a whole description", got=fault) from fault
    if info.format > FORMAT:
        raise BundleError(
            thing, f"must be of format {FORMAT} or older", got=info.format, todo="Update the agent"
        )
    absent = [name for name in missing if name not in files]
    if absent:
        raise BundleError(thing, "must have every file that it declares", got=f"no {absent[0]}")
    return Bundle(digest=digest, info=info, files=files)


def open_kept(store: Store, digest: str) -> Bundle:
    """The bundle of a digest in a store on this disk.

    Raises:
        ArtifactMissingError: the store does not have it.
        BundleError: its description is broken, or of a later format.
    """
    named, description = oci.layers_of(store.layout.read(digest), digest)
    layers = (*named, description)
    return open_bundle(digest, {layer.name: store.layout.blob(layer.digest) for layer in layers})
