"""What a manifest asks for beside its bundle is refused before a byte of it is fetched.

Here every signature is right: whoever has the channel's key, or a build that went wrong, made it.
"""

import json

import pytest
from tests.agent.world import PLAN, pictures

from edgeloop.release.bundle import MOST_BYTES, MOST_LAYERS
from edgeloop.store.manifest import TITLE, canonical

NOWHERE = "sha256:" + "0" * 64


def named(told, name):
    told["layers"][0]["annotations"] = {TITLE: name}


def many(told):
    told["layers"] += [
        {**told["layers"][0], "annotations": {TITLE: f"more-{n}"}} for n in range(MOST_LAYERS)
    ]


def sized(told, size):
    told["layers"][0]["size"] = size


ASKED = {
    "a name that climbs": (lambda told: named(told, "../../device.pem"), "plain file names"),
    "a name from the root": (lambda told: named(told, "/etc/passwd"), "plain file names"),
    "a hidden name": (lambda told: named(told, ".bashrc"), "plain file names"),
    "a name twice": (lambda told: named(told, "description.json"), "one file of each name"),
    "too many files": (many, f"must have at most {MOST_LAYERS} files"),
    "too many bytes": (lambda told: sized(told, MOST_BYTES + 1), f"at most {MOST_BYTES} bytes"),
    "fewer bytes than none": (lambda told: sized(told, -5), f"at most {MOST_BYTES} bytes"),
}


def offer(world, change):
    """A release whose manifest was changed before it was signed."""
    told = json.loads(world.factory.store.layout.read(world.factory.bundle(scale=0.012).digest))
    change(told)
    ref = world.factory.repository.publish(
        canonical(told), name="sorter", channel="stable", plan=PLAN
    )
    world.plane.calls.clear()
    world.plane.wish(ref, rollout=2)


def end(world):
    world.rest()
    return world.plane.reports[-1]


def still_answers(world, last):
    assert last["running"]["version"] == 1
    return world.agent.answer({"image": pictures(5, 1)[0]}).version == 1


@pytest.mark.parametrize("asked", ASKED)
def test_what_no_bundle_needs_is_refused_before_a_byte_is_fetched(world, asked):
    change, rule = ASKED[asked]
    offer(world, change)
    last = end(world)
    assert last["outcome"]["reason"].startswith("[E404] bundle sha256:")
    assert rule in last["outcome"]["reason"]
    assert world.plane.fetched() == []
    assert still_answers(world, last)


def test_a_file_that_is_larger_than_declared_is_broken_off_and_not_kept(world):
    def shorter(told):
        told["layers"][0]["size"] -= 1

    offer(world, shorter)
    last = end(world)
    assert last["outcome"]["reason"].startswith("[E6") or "[E202]" in last["outcome"]["reason"]
    kept = {path.name for path in (world.fleet._folder / "d1" / "partial").iterdir()}
    assert kept == set()
    assert still_answers(world, last)


def test_a_file_that_there_is_not_is_waited_for_and_the_device_answers(world):
    def elsewhere(told):
        told["layers"][0]["digest"] = NOWHERE

    offer(world, elsewhere)
    for _ in range(5):
        world.fleet.step(100)
    last = world.plane.reports[-1]
    assert last["state"] == "downloading"
    assert still_answers(world, last)
