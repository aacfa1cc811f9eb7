"""Room on the disk is looked for once, for all of an update, before a byte of it is fetched."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from tests.agent.world import World

from edgeloop.agent.blobs import RESERVE
from edgeloop.release.bundle import layers_of


def test_an_update_that_does_not_fit_as_a_whole_is_not_begun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = world.factory.bundle()
    manifest = world.factory.store.layout.read(bundle.digest)
    size = sum(layer.size for layer in layers_of(manifest, bundle.digest))
    free = RESERVE + size - 1  # each of its files alone would fit
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    world.plane.wish(world.factory.publish(bundle))
    world.rest()
    assert world.plane.fetched() == []
    folder = world.fleet._folder / "d1" / "blobs"
    assert world.plane.reports[-1]["outcome"]["reason"] == (
        f"[E203] disk of {folder} must have room for {RESERVE + size} bytes, got {free} bytes "
        "free. Free space; the device keeps the slot that it has"
    )
