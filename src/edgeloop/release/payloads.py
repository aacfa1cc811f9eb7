"""Bundles of things that are no model: a script, a container image, a firmware file, the agent.

The description says of which kind it is. What is done with it is said by the device's owner, and
never here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop.errors import BundleError, OverrideError
from edgeloop.release.bundle import DESCRIPTION, PLAIN_NAME
from edgeloop.types import Json, MadeBy

if TYPE_CHECKING:
    from edgeloop.protocol.messages import ReleaseRef, RolloutPlan
    from edgeloop.release.repository import Repository
    from edgeloop.store.artifacts import Store
    from edgeloop.types import Artifact

FORMAT = 1
PayloadKind = Literal["script", "container", "firmware", "agent"]


class PayloadInfo(BaseModel):
    """The meta of such a bundle."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Annotated[int, Field(ge=1)] = FORMAT
    name: str
    payload: PayloadKind
    targets: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """What a device must have: somebody to hand it to."""
        return (need(self.payload),)


def need(kind: str) -> str:
    """What a device that takes payloads of this kind says that it has."""
    return f"payload.{kind}"


@dataclass(frozen=True, kw_only=True)
class PayloadDraft:
    """Such a bundle before the store has named it."""

    info: PayloadInfo
    files: Mapping[str, Path] = field(repr=False)
    kind: str = "bundle"

    def to_meta(self) -> Json:
        """The information as JSON."""
        return self.info.model_dump(mode="json")


def keep(store: Store, info: PayloadInfo, files: list[Path]) -> Artifact:
    """Files as a bundle of ``store``; the same files give the same bundle.

    Raises:
        OverrideError: a file is missing, has no plain name, or the name of another.
    """
    named: dict[str, Path] = {}
    for file in files:
        if not file.is_file():
            raise OverrideError(f"file {file.name!r}", "must be a file that is there")
        if not PLAIN_NAME.fullmatch(file.name) or file.name in {*named, DESCRIPTION}:
            raise OverrideError(
                f"file {file.name!r}",
                f"must have a plain name of its own, other than {DESCRIPTION}",
                todo="Rename it",
            )
        named[file.name] = file
    told = [info.model_dump(mode="json"), {n: _digest(path) for n, path in sorted(named.items())}]
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    made_by = MadeBy(plugin="payload.v1", key=key, source="")
    return store.keep(PayloadDraft(info=info, files=named), made_by)


def publish(
    store: Store,
    repository: Repository,
    info: PayloadInfo,
    files: list[Path],
    channel: str,
    plan: RolloutPlan,
) -> ReleaseRef:
    """Sign files onto a channel, and make them a root of the store. Twice is once.

    Raises:
        OverrideError: as for :func:`keep`.
        GateError, KeyFileError, DiskFullError: as for :meth:`Repository.publish`.
    """
    with store.layout.in_use():
        bundle = keep(store, info, files)
        pending = f"{info.name}-{channel}-pending"
        store.layout.tag(pending, bundle.digest)  # before it is listed, for a kill in between
        ref = repository.publish(
            store.layout.read(bundle.digest),
            name=info.name,
            channel=channel,
            plan=plan,
            targets=info.targets,
            needs=info.needs,
        )
        store.layout.tag(f"{info.name}-{channel}-{ref.version}", bundle.digest)
        store.layout.untag(pending)
    return ref


def info_of(files: Mapping[str, Path], digest: str) -> PayloadInfo:
    """What an installed payload says of itself.

    Raises:
        BundleError: it is none, as a model's bundle, or of a later format.
    """
    thing = f"bundle {digest}"
    try:
        info = PayloadInfo.model_validate(json.loads(files[DESCRIPTION].read_bytes())["meta"])
    except (KeyError, TypeError, ValueError, RecursionError) as fault:
        got = f"{fault.error_count()} faults" if isinstance(fault, ValidationError) else fault
        raise BundleError(thing, "must describe a payload", got=got) from fault
    if info.format > FORMAT:
        raise BundleError(
            thing, f"must be of format {FORMAT} or older", got=info.format, todo="Update the agent"
        )
    return info


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
