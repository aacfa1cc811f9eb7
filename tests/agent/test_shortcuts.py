"""A device takes a signed delta where that is shorter, and the whole files where it is not."""

from __future__ import annotations

import logging

import pytest
from tests.agent.test_update import good, installed
from tests.agent.world import World

from edgeloop.agent.shortcuts import cheapest
from edgeloop.delta import apply
from edgeloop.errors import DiskFullError
from edgeloop.protocol.messages import Delta, Listed, ReleaseRef
from edgeloop.release.bundle import layers_of

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def way(base: str, to: str, size: int) -> Delta:
    return Delta(base=base, to=to, digest=A, size=size)


def test_the_fewest_bytes_lead_to_a_bundle_in_one_step_or_in_several() -> None:
    direct, first, second = way(A, C, 90), way(A, B, 40), way(B, C, 30)
    assert cheapest([direct, first, second], {A}, C) == (first, second)
    assert cheapest([way(A, C, 60), first, second], {A}, C) == (way(A, C, 60),)
    assert cheapest([direct, first, second], {A, B}, C) == (second,)
    assert cheapest([first], {A}, C) == ()
    assert cheapest([first, way(B, A, 1)], {A}, C) == ()


def line(world: World, ref: ReleaseRef) -> Listed:
    listing = world.factory.repository.listing(ref.name, ref.channel)
    return next(one for one in listing.releases if one.version == ref.version)


def begun(world: World) -> tuple[ReleaseRef, ReleaseRef]:
    """A device on release 1, and release 2 with a delta that leads to it."""
    first, one = installed(world)
    ref = world.factory.publish(good(world, first), bases=[first])
    assert len(line(world, ref).deltas) == 1
    world.plane.calls.clear()
    return one, ref


def updated(world: World, ref: ReleaseRef, rollout: int = 2) -> set[str]:
    """The blobs that an update fetched; the device runs the release then."""
    world.plane.wish(ref, rollout=rollout)
    world.rest()
    assert world.plane.reports[-1]["running"] == ref.model_dump()
    return {f"sha256:{path.rpartition('/')[2].removeprefix('sha256:')}" for path in
            world.plane.fetched()}  # fmt: skip


def whole(world: World, ref: ReleaseRef) -> set[str]:
    manifest = world.factory.store.layout.read(ref.digest)
    return {layer.digest for layer in layers_of(manifest, ref.digest)}


def test_a_device_fetches_the_delta_and_none_of_the_files(world: World) -> None:
    _, ref = begun(world)
    assert updated(world, ref) == {line(world, ref).deltas[0].digest}


def test_a_delta_that_came_changed_is_refused_and_the_files_are_fetched(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    one, ref = begun(world)
    delta = line(world, ref).deltas[0].digest.removeprefix("sha256:")
    world.plane.spoil = lambda path, data: data[:-1] + b"!" if delta in path else data
    assert updated(world, ref) >= whole(world, ref) - whole(world, one)
    assert "must have that digest" in refused(caplog)


def refused(caplog: pytest.LogCaptureFixture) -> str:
    return next(r.getMessage() for r in caplog.records if "delta.refused" in r.getMessage())


def test_a_device_whose_old_file_has_changed_fetches_the_files(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    one, ref = begun(world)
    blobs = world.factory.folder.parent / "fleet" / "d1" / "blobs"
    for digest in whole(world, one) - whole(world, ref):
        file = blobs / digest.removeprefix("sha256:")
        file.chmod(0o644)
        file.write_bytes(b"!" + file.read_bytes()[1:])
    fetched = updated(world, ref)
    assert fetched > {line(world, ref).deltas[0].digest}
    assert "[E408] old file must have " in refused(caplog)


def test_a_delta_that_is_nowhere_is_not_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _, ref = begun(world)
    world.factory.store.layout.blob(line(world, ref).deltas[0].digest).unlink()
    assert len(updated(world, ref)) > 1
    assert "[E601] " in refused(caplog)


def test_without_room_for_both_the_files_are_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, ref = begun(world)

    def full(*_: object) -> None:
        raise DiskFullError("disk", "must have room for 9 bytes")

    monkeypatch.setattr(apply, "_check_room", full)
    assert len(updated(world, ref)) > 1
    assert "[E203] disk must have room for 9 bytes" in refused(caplog)


def test_deltas_in_a_row_lead_a_device_that_is_two_releases_behind(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, _ = installed(world)
    second = good(world, first, ceiling=254)
    world.factory.publish(second, bases=[first])
    third = world.factory.publish(good(world, first, ceiling=253), bases=[second])
    ways = line(world, third).deltas
    assert [(one.base, one.to) for one in ways] == [
        (second.digest, third.digest), (first.digest, second.digest),
    ]  # fmt: skip
    world.plane.calls.clear()
    assert updated(world, third) == {one.digest for one in ways}
    assert any("delta.done steps=2 " in record.getMessage() for record in caplog.records)


def test_only_the_newest_lines_of_a_list_keep_their_deltas(world: World) -> None:
    before = world.factory.bundle()
    world.factory.publish(before)
    for number in range(5):
        after = world.factory.bundle(scale=0.011 + number * 1e-5)
        world.factory.publish(after, bases=[before])
        before = after
    listing = world.factory.repository.listing("sorter", "stable")
    assert [bool(one.deltas) for one in listing.releases] == [False, False, True, True, True, True]
