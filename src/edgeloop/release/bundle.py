"""What a device installs: the rules of a bundle's manifest and description, and how it is read.

A bundle is an artifact of kind ``bundle``: the model's files, ``description.json`` (which holds
:class:`BundleInfo`), golden samples in ``golden.zip`` (``in.<input>``, ``out.<output>``), and for
each declared profile of inputs the sketches ``profile-<n>.json``. It may carry the same of further
graphs, its variants: their files have the variant's name and a dot in front.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

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
MAIN = "main"  # the variant that has no name of its own, and that older agents know alone
MOST_LAYERS = 64
MOST_BYTES = 8 << 30  # of all layers together
MOST_MANIFEST = 4 << 20
TEXTS = TypeAdapter(dict[str, str])
T = TypeVar("T")
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


Share = Annotated[float, Field(ge=0, le=1)]
VariantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


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
    """What was measured offline on one population of inputs; ``against`` is the release before.

    ``disagreement`` is with that release's main graph, ``beside`` with each of its variants.
    """

    profile: str
    rows: int
    disagreement: Share
    claims: dict[str, Share] = {}  # the answer kind's own, by name
    against: str | None = None
    beside: dict[str, Share] = {}

    def differs_from(self, digest: str | None, variant: str) -> float | None:
        """The disagreement with a variant of another release; None where nothing was declared."""
        if self.against != digest:
            return None
        return self.disagreement if variant == MAIN else self.beside.get(variant)


class UsedWhen(_Frozen):
    """When a variant may be used on a device; None is no condition. See ``agent.variants``."""

    free_memory_mb: float | None = None  # at least
    battery_percent: float | None = None  # at least, or charging
    temperature_c: float | None = None  # at most
    accelerator: str = ""  # that the device must have, and that the graph then runs on


class GraphInfo(_Frozen):
    """What is known of one graph of a bundle."""

    runtime: str
    steps: tuple[str, ...] = ()  # of the model's program, the runtime's own left out
    golden: Golden
    limits: DeviceLimits = DeviceLimits()
    declared: tuple[DeclaredProfile, ...] = ()
    model: dict[str, Any]

    @property
    def needs(self) -> tuple[str, ...]:
        """What a device must have installed to load it."""
        return (self.runtime, *self.steps)


class Variant(GraphInfo):
    """One of several graphs of a bundle, and when it may be used."""

    name: str
    when: UsedWhen = UsedWhen()


class BundleInfo(GraphInfo):
    """The meta of a bundle artifact; its own graph is the variant ``main``, the last resort.

    ``variants`` are preferred to it in their order.
    """

    format: int = FORMAT
    name: str
    targets: tuple[str, ...] = ()
    signals: dict[str, str] = {}  # input -> summary of sketches.features
    variants: tuple[Variant, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [one.name for one in self.every]
        if len(set(names)) != len(names) or not all(map(PLAIN_NAME.fullmatch, names)):
            raise ValueError(f"variants must have plain names of their own, got {names}")
        return self

    @property
    def every(self) -> tuple[Variant, ...]:
        """Every variant in the order of preference, ``main`` last."""
        graph = {name: getattr(self, name) for name in GraphInfo.model_fields}
        return (*self.variants, Variant.model_construct(**graph, name=MAIN))

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """What each variant needs, where they differ: a device must have all of one."""
        needs = tuple(dict.fromkeys(one.needs for one in self.every))
        return needs if len(needs) > 1 else ()


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened bundle whose files lie on this disk."""

    digest: str
    info: BundleInfo
    files: Mapping[str, Path] = field(repr=False)

    def of(self, variant: str) -> Bundle:
        """The same bundle with another variant's graph, and what belongs to it, as its own.

        Raises:
            BundleError: it has no variant of that name.
        """
        if variant == MAIN:
            return self
        found = next((one for one in self.info.variants if one.name == variant), None)
        if found is None:
            names = ", ".join(one.name for one in self.info.every)
            raise BundleError(
                f"variant {variant!r} of bundle {self.digest}", f"must be {names}", got="no such"
            )
        graph = {name: getattr(found, name) for name in GraphInfo.model_fields}
        files = _named(self.files, prefix(variant))
        return replace(self, info=self.info.model_copy(update=graph), files=files)

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

    def declared_for(
        self, profile: str, against: str | None, variant: str = MAIN
    ) -> Declared | None:
        """What was declared of a profile; its disagreement with a ``variant`` of ``against``."""
        for line in self.info.declared:
            if line.profile == profile:
                return Declared(
                    profile=line.profile,
                    rows=line.rows,
                    disagreement=line.differs_from(against, variant),
                    claims=line.claims,
                )
        return None


def _named(packed: Mapping[str, T], prefix: str) -> dict[str, T]:
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
        missing = [name for one in info.every for name in _measured(one)]
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


def prefix(variant: str) -> str:
    """What stands before the names of a variant's files."""
    return "" if variant == MAIN else f"{variant}."


def _measured(graph: Variant) -> list[str]:
    """The files beside a graph's own that a bundle must have for it."""
    names = [GOLDEN, *(f"profile-{n}.json" for n in range(len(graph.declared)))]
    return [prefix(graph.name) + name for name in names]


def open_kept(store: Store, digest: str) -> Bundle:
    """The bundle of a digest in a store on this disk.

    Raises:
        ArtifactMissingError: the store does not have it.
        BundleError: its description is broken, or of a later format.
    """
    named, description = oci.layers_of(store.layout.read(digest), digest)
    layers = (*named, description)
    return open_bundle(digest, {layer.name: store.layout.blob(layer.digest) for layer in layers})
