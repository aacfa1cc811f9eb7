"""Tampered releases, each in its own way: refused by number, and the device answers as before."""

import logging
import random
import re
import shutil
from collections import Counter

import pytest
from tests.agent.world import pictures
from tests.hostile.tampering import ROLES, WAYS, Served

from edgeloop.agent.rests import Record
from edgeloop.release.bundle import layers_of

FEW, ALL = 40, 500
NUMBERED = re.compile(r"\[E\d{3}\]")


def fresh_files(world, bundle, running):
    """Path -> file of the blobs that the device lacks."""
    layout = world.factory.store.layout
    had = {layer.digest for layer in layers_of(layout.read(running.digest), running.digest)}
    layers = layers_of(layout.read(bundle.digest), bundle.digest)
    return {
        f"/blobs/sha256/{layer.digest[7:]}": layout.blob(layer.digest)
        for layer in layers
        if layer.digest not in had
    }


def served(world, ref, running):
    """A repository whose every role is signed anew, as a device will ask for it."""
    repository = world.factory.repository
    roles, folder = repository._roles, repository.folder
    repository.refresh()
    files = [
        max((folder / "targets" / "stable").glob(name), key=lambda path: path.stat().st_mtime_ns)
        for name in ("*.sorter.json", f"*._sorter.{ref.version}.json")
    ]
    return Served(
        repository=repository,
        metadata={role: f"/tuf/metadata/{roles._file(role)}" for role in ROLES},
        lists={f"/tuf/{path.relative_to(folder)}": path for path in files},
        blobs=fresh_files(world, ref, running),
    )


def older_roles(repository):
    roles = repository._roles
    return {
        role: (repository.folder / "metadata" / roles._file(role)).read_bytes() for role in ROLES
    }


def forget_what_was_fetched(world):
    """Targets and blobs in the device's cache are verified when they are used, not asked for."""
    device = world.fleet._folder / "d1"
    shutil.rmtree(device / "tuf" / "targets", ignore_errors=True)


def offer_tampered(world, ref, running, older, way, draw):
    """Offer the release, with one lie about it."""
    now = served(world, ref, running)
    now.older = older
    lies = {}
    while not lies:
        lies = way(now, draw)
    forget_what_was_fetched(world)
    world.agent._ledger.note(record=Record())  # a device that keeps failing would rest
    world.plane.lies = lies
    world.plane.wish(ref, rollout=draw.randrange(10, 1 << 40))


@pytest.mark.parametrize(
    "count", [FEW, pytest.param(ALL, marks=pytest.mark.hard)], ids=["few", "all"]
)
def test_every_tampered_release_is_refused_and_the_device_answers_as_before(world, caplog, count):
    caplog.set_level(logging.WARNING, logger="edgeloop.agent")
    draw, running = random.Random(count), world.agent.report().running
    older = older_roles(world.factory.repository)
    world.fleet.traffic = None
    ref = world.factory.publish(world.factory.bundle(scale=0.012))
    ways = Counter()
    for number in range(count):
        caplog.clear()
        way = WAYS[number % len(WAYS)]
        offer_tampered(world, ref, running, older, way, draw)
        world.fleet.step(130)  # beyond every wait of the agent
        assert NUMBERED.search(caplog.text), (way.__name__, world.plane.lies.keys())
        assert world.agent.report().running == running
        assert world.agent.answer({"image": pictures(5, 1)[0]}).version == 1
        slots = [path.name for path in (world.fleet._folder / "d1" / "slots").iterdir()]
        assert slots == [running.digest[7:]]
        world.plane.wish(running)  # withdrawn: nothing of it stays
        world.fleet.step(130)
        ways[way.__name__] += 1
    print(f"tampered releases refused: {ways.total()} of {count} {dict(sorted(ways.items()))}")
    world.plane.lies = {}
    world.plane.wish(ref, rollout=2)  # what nobody touched is taken, so it was the tampering
    world.fleet.traffic = world.traffic
    world.rest()
    assert world.agent.report().running == ref
