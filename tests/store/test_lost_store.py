"""What architecture.md says of a store that was lost, or from which gc removed things, holds."""

import shutil

import pytest

from edgeloop.errors import ArtifactMissingError
from edgeloop.loop.file import load_loop
from edgeloop.loop.origins import built_model
from edgeloop.loop.report import offline
from edgeloop.loop.runner import run_loop
from edgeloop.release.repository import read_list
from edgeloop.store.artifacts import Store

SECOND = "passes.0.toy_round.digits=4"


def run(path, *overrides):
    loop = load_loop(path, overrides)
    return run_loop(loop, Store(loop.path(loop.settings.store)))


def lose_the_store(path):
    shutil.rmtree(path.parent / ".edgeloop")


def listed(path):
    told = read_list(path.parent / "repository", "toy", "stable")
    return {line.version: line.digest for line in told.releases}


def test_releases_that_are_run_again_in_their_order_come_out_the_same(loop_path):
    first, second = run(loop_path), run(loop_path, SECOND)
    before = listed(loop_path)
    lose_the_store(loop_path)
    again = run(loop_path), run(loop_path, SECOND)
    assert [r.release for r in again] == [first.release, second.release]
    for old, new in zip((first, second), again, strict=True):
        assert [s.artifact.digest for s in old.steps] == [s.artifact.digest for s in new.steps]
    assert listed(loop_path) == before
    assert Store(loop_path.parent / ".edgeloop").verify() == []


def test_a_release_whose_predecessor_is_lost_is_compared_with_nothing_and_is_the_next(loop_path):
    run(loop_path)
    second = run(loop_path, SECOND)
    before = listed(loop_path)
    lose_the_store(loop_path)
    again = run(loop_path, SECOND)
    assert again.bundle.meta["declared"][0]["against"] is None
    assert (again.release.version, again.release.digest == second.release.digest) == (3, False)
    assert listed(loop_path) == {**before, 3: again.release.digest}


def test_behind_a_collected_release_the_next_one_runs_again_and_is_drawn(loop_path):
    first, second = run(loop_path), run(loop_path, SECOND)
    store = Store(loop_path.parent / ".edgeloop")
    store.collect(gone=["toy-stable-1"])
    nodes = offline.lineage(store, {1: first.bundle, 2: second.bundle})
    assert {parent for node in nodes for parent in node.parents} <= {node.id for node in nodes}
    again = run(loop_path, SECOND)
    assert (again.executed, again.release) == (0, second.release)


def test_what_a_collected_release_was_made_of_is_named_as_missing(loop_path):
    first = run(loop_path)
    run(loop_path, SECOND, "seed=9", "recipe.sign=2")
    store = Store(loop_path.parent / ".edgeloop")
    store.collect(gone=["toy-stable-1"])
    with pytest.raises(ArtifactMissingError) as raised:
        built_model(store, first.bundle.digest)
    assert str(raised.value) == (
        f"[E201] what bundle {first.bundle.digest} is made of must be in the store."
        " `edgeloop gc` removed it with a delisted release"
    )
