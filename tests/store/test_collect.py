"""What gc keeps: listed releases and what they are made of, and no more."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeloop.cli.main import app
from edgeloop.protocol.messages import RolloutPlan
from edgeloop.release.repository import Repository
from edgeloop.store.artifacts import Store
from edgeloop.types import Finding, MadeBy, Verdict


@dataclass(frozen=True)
class Bundle:
    """As much of a bundle as a store looks at."""

    name: str
    kind: str = "bundle"
    files: dict[str, Path] = field(default_factory=dict)

    def to_meta(self):
        return {"name": self.name}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / ".edgeloop")


def release(store, name, current=None):
    """A finding that stands for data and model, and the bundle made of it; gives both digests."""
    how = MadeBy(plugin="recipe/x.v1", key=name, source="s")
    made = store.keep(Finding(check=name, verdict=Verdict.PASS), how)
    parents = [made.digest, *([current] if current else [])]
    how = MadeBy(plugin="bundle.v1", key=f"b{name}", source="s")
    return made.digest, store.keep(Bundle(name), how, parents).digest


def gc(folder, *options):
    line = ["gc", "--store", str(folder / ".edgeloop"), "--repository", str(folder / "repository")]
    done = CliRunner().invoke(app, [*line, *options])
    assert done.exit_code == 0, done.output
    return {a.digest for a in Store(folder / ".edgeloop").artifacts()}


def publish(folder, store, digest):
    repository = Repository(folder / "repository", folder / "keys")
    repository.create(("stable",))
    ref = repository.publish(
        store.layout.read(digest), name="toy", channel="stable", plan=RolloutPlan()
    )
    store.layout.tag(f"toy-stable-{ref.version}", digest)
    return repository


def test_what_a_release_was_compared_with_stays_but_not_what_that_was_made_of(store, tmp_path):
    old_rows, old = release(store, "old")
    rows, new = release(store, "new", current=old)
    store.layout.tag("toy-stable-2", new)
    assert gc(tmp_path) == {old, rows, new}
    assert [a.digest for a in store.lineage(new)] == [rows, old, new]
    assert not store.has(old_rows)
    assert gc(tmp_path, "--keep", old) == {old, rows, new}


def test_a_listed_release_stays_although_no_tag_names_it(store, tmp_path):
    rows, one = release(store, "one")
    publish(tmp_path, store, one)
    store.layout.untag("toy-stable-1")
    assert gc(tmp_path) == {rows, one}


def test_a_delisted_release_goes_unless_it_is_kept_by_name(store, tmp_path):
    bad_rows, bad = release(store, "bad")
    publish(tmp_path, store, bad)
    rows, good = release(store, "good")
    publish(tmp_path, store, good).delist("toy", "stable", 1)
    assert gc(tmp_path, "--keep", bad) == {bad_rows, bad, rows, good}
    assert gc(tmp_path) == {rows, good}
    assert store.layout.tags() == {"toy-stable-2": good}


def test_a_list_that_names_bundles_of_another_store_collects_what_is_here(store, tmp_path):
    _, one = release(store, "one")
    publish(tmp_path, store, one)
    other = tmp_path / "other"
    kept = release(elsewhere := Store(other / ".edgeloop"), "two")
    elsewhere.layout.tag("mine", kept[1])
    (other / "repository").symlink_to(tmp_path / "repository")
    assert gc(other) == set(kept)


def test_a_store_without_any_root_is_not_emptied(store, tmp_path):
    rows, one = release(store, "one")
    line = ["gc", "--store", str(tmp_path / ".edgeloop"), "--repository", str(tmp_path / "none")]
    done = CliRunner().invoke(app, line)
    assert str(done.exception) == (
        f"[E201] store {tmp_path / '.edgeloop'} must have a root to collect for, yet index.json"
        " names none. Run `edgeloop run` again, which names its releases anew"
    )
    assert {a.digest for a in store.artifacts()} == {rows, one}
