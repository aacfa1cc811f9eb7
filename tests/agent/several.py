"""Bundles of several graphs for tests: the world's toy networks, joined."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.agent.world import PLAN, Factory, World

from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release.bundle import BundleDraft, BundleInfo, UsedWhen
from edgeloop.release.variants import joined
from edgeloop.types import Artifact, MadeBy

FULL = {"battery_percent": 50.0}


def several(
    factory: Factory, main: dict[str, Any], **others: tuple[dict[str, Any], dict[str, Any]]
) -> Artifact:
    """A bundle of ``main`` and ``others``: name -> (conditions, how its own graph is made)."""
    made = factory.bundle(**main)
    info = BundleInfo.model_validate(made.meta)
    parts = {
        name: (UsedWhen.model_validate(when), factory.bundle(**how))
        for name, (when, how) in others.items()
    }
    draft = joined(BundleDraft(info=info, files=made.files), parts)
    key = hashlib.sha256(repr((main, others, factory.made)).encode()).hexdigest()
    return factory.store.keep(draft, MadeBy(plugin="bundle.v1", key=key, source=""))


def release(world: World, bundle: Artifact) -> ReleaseRef:
    """On the signed list, with what its variants need."""
    info = BundleInfo.model_validate(bundle.meta)
    ref = world.factory.repository.publish(
        world.factory.store.layout.read(bundle.digest),
        name="sorter",
        channel="stable",
        plan=PLAN,
        needs=info.needs,
        alternatives=info.alternatives,
    )
    world.plane.wish(ref, rollout=ref.version)
    return ref


def installed(world: World, bundle: Artifact) -> ReleaseRef:
    """Released and, whatever came of it, reported."""
    ref = release(world, bundle)
    world.fleet.until(lambda: _ended(world) == ref.digest)
    return ref


def _ended(world: World) -> str:
    """The bundle of the newest update that ended and was reported."""
    outcome = world.plane.reports[-1]["outcome"] if world.plane.reports else None
    return outcome["digest"] if outcome else ""
