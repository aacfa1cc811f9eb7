"""Papers about one thing are replaced together; those about others, or of others, stay."""

import json

import pytest

from edgeloop.store.artifacts import Store
from edgeloop.store.manifest import INDEX_TYPE, MANIFEST_TYPE, canonical
from edgeloop.store.referrers import Paper, attach, papers
from edgeloop.types import Finding, MadeBy, Verdict


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def subject(store):
    how = MadeBy(plugin="check/x.v1", key="k", source="s")
    kept = store.keep(Finding(check="x", verdict=Verdict.PASS), how)
    store.layout.tag("mine", kept.digest)
    return kept.digest


def paper(name: str, data: bytes) -> Paper:
    return Paper(name=name, media_type="text/plain", data=data)


def test_papers_about_another_release_of_the_same_bundle_stay(store, subject):
    attach(store.layout, subject, "beta 1", [paper("a", b"old"), paper("b", b"old")])
    attach(store.layout, subject, "stable 7", [paper("a", b"stable")])
    attach(store.layout, subject, "beta 1", [paper("a", b"new")])
    assert papers(store.layout, subject, "beta 1") == [paper("a", b"new")]
    assert papers(store.layout, subject, "stable 7") == [paper("a", b"stable")]


def test_what_another_tool_attached_stays_through_ours_and_through_collecting(store, subject):
    theirs = canonical({"config": {"digest": subject}, "layers": [], "schemaVersion": 2})
    digest, size = store.layout.put_bytes(theirs)
    line = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": size}
    listed = canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [line]})
    with store.layout.locked():
        store.layout.point(store.layout.tags(), {subject: store.layout.put_bytes(listed)[0]})
    attach(store.layout, subject, "stable 1", [paper("a", b"ours")])
    store.collect()
    index = json.loads(store.layout.read(store.layout.referrers()[subject]))
    assert index["manifests"][0] == line
    assert store.layout.read(digest) == theirs
    assert papers(store.layout, subject, "stable 1") == [paper("a", b"ours")]
    assert store.verify() == []


def test_a_new_root_leaves_the_papers_listed(store, subject):
    attach(store.layout, subject, "stable 1", [paper("a", b"ours")])
    store.layout.tag("other", subject)
    store.layout.untag("mine")
    assert store.layout.tags() == {"other": subject}
    assert papers(store.layout, subject, "stable 1") == [paper("a", b"ours")]
