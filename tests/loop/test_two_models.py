"""Two models in one control plane: neither's rollouts, samples or triggers touch the other's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_world import World, open_world

from edgeloop.loop.close import Watcher
from edgeloop.watch.trigger import Move

OTHER = "name=other"
MODELS = {
    "north-1": "toy", "north-2": "toy", "south-1": "toy",
    "north-3": "other", "north-4": "other", "south-2": "other",
}  # fmt: skip


@pytest.fixture
def world(toys: Path, tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path, MODELS) as made:
        yield made


def of(model: str) -> set[str]:
    return {name for name, follows in MODELS.items() if follows == model}


def running(world: World) -> dict[str, str]:
    said = {one.name: one.report and one.report.running for one in world.client.devices()}
    return {name: f"{ref.name} {ref.version}" for name, ref in said.items() if ref}


def both_run(world: World) -> None:
    for name, release in (("toy", world.run().release), ("other", world.run(OTHER).release)):
        number = world.client.create_rollout(name, "stable", release.version).id
        assert world.until_over(number) == "finished"


def test_two_models_go_out_at_once_and_one_that_stops_leaves_the_other_alone(world: World) -> None:
    assert {one.name: one.model for one in world.client.devices()} == MODELS  # as enrolled
    first, second = world.run().release, world.run(OTHER).release
    toy = world.client.create_rollout("toy", "stable", first.version).id
    other = world.client.create_rollout("other", "stable", second.version).id
    views = [world.client.rollout(number) for number in (toy, other)]
    assert [view.state for view in views] == ["running", "running"]
    assert [{job.device_name for job in view.jobs} for view in views] == [of("toy"), of("other")]
    world.step()
    world.client.stop(toy)
    assert world.until_over(other) == "finished"
    assert world.client.rollout(other).counts == {"SUCCEEDED": 3}
    assert world.client.rollout(toy).counts == {"SUCCEEDED": 2, "REMOVED": 1}
    told = running(world)
    assert {name for name in told if told[name] == "other 1"} == of("other")
    assert len({name for name in told if told[name] == "toy 1"} & of("toy")) == 2


def test_two_watchers_of_one_control_plane_do_not_disturb_each_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_run(world)
    world.changed = True
    world.step(20)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watcher, "_keep", killed)
    with pytest.raises(KeyboardInterrupt):
        world.watcher().step()
    monkeypatch.undo()
    theirs = world.watcher(OTHER).step()
    assert (theirs.move, theirs.group, theirs.fired) == (Move.FIRE, "south", True)
    assert theirs.reason != "carried on"
    assert world.until_over(world.client.rollouts()[-1].id) == "finished"
    assert world.watcher().step().reason == "carried on"
    assert world.until_over(world.client.rollouts()[-1].id) == "finished"
    requests = world.client.sample_requests()
    assert [request.model for request in requests] == ["toy", "other"]
    names = {one.id: one.name for one in world.client.devices()}
    for request, name in zip(requests, ("south-1", "south-2"), strict=True):
        assert {names[one.device] for one in world.client.samples(request.id)} == {name}
    assert {name: running(world)[name] for name in ("south-1", "south-2")} == {
        "south-1": "toy 2",
        "south-2": "other 2",
    }
