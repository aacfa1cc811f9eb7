"""The store: what is kept is found again, whole, whatever happens to the process or the disk."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeloop.errors import ArtifactMissingError, DiskFullError, StoreBusyError
from edgeloop.store import layout as layout_module
from edgeloop.store.artifacts import Store
from edgeloop.store.index import Index
from edgeloop.types import AnswerSpec, Finding, MadeBy, Model, TensorSpec, Verdict


def model(folder: Path, content: bytes = b"weights") -> Model:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return Model(
        format="onnx",
        answer=AnswerSpec(kind="label", params={"classes": ["a", "b"]}),
        inputs=(TensorSpec(name="image", dtype="uint8", shape=(2, 2)),),
        files={"model.onnx": path},
    )


def made(key: str) -> MadeBy:
    return MadeBy(plugin="recipe/test.v1", key=key, source="s")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_was_kept_is_found_by_digest_by_its_beginning_by_tag_and_by_key(store, tmp_path):
    kept = store.keep(model(tmp_path), made("k1"))
    store.layout.tag("newest", kept.digest)
    assert store.open(kept.digest) == kept
    assert store.open(kept.digest[7:15]) == kept
    assert store.open("newest") == kept
    assert store.by_key("k1") == kept
    assert store.by_key("k2") is None
    assert Model.from_meta(kept.meta, kept.files).files["model.onnx"].read_bytes() == b"weights"


def test_equal_content_has_an_equal_digest_in_every_store(tmp_path):
    one = Store(tmp_path / "one").keep(model(tmp_path), made("k"))
    other = Store(tmp_path / "other").keep(model(tmp_path), made("k"))
    assert one.digest == other.digest


def test_a_finding_survives_the_store_unchanged(store):
    finding = Finding(
        check="accuracy", verdict=Verdict.NOT_MEASURED, interval=(0.1, 0.2), evidence={"n": 3}
    )
    assert Finding.from_meta(store.keep(finding, made("k")).meta) == finding


def test_the_index_is_rebuilt_from_the_layout_alone(store, tmp_path):
    parent = store.keep(model(tmp_path), made("k1"))
    child = store.keep(Finding(check="c", verdict=Verdict.PASS), made("k2"), [parent.digest])
    (store.folder / "edgeloop.sqlite").unlink()
    again = Store(store.folder)
    assert again.by_key("k2") == child
    assert [a.digest for a in again.lineage(child.digest)] == [parent.digest, child.digest]
    assert [a.digest for a in again.children(parent.digest)] == [child.digest]


def test_garbage_collection_keeps_what_a_tag_or_a_device_came_from_and_removes_the_rest(
    store, tmp_path
):
    data = store.keep(model(tmp_path, b"data"), made("data"))
    released = store.keep(model(tmp_path, b"one"), made("one"), [data.digest])
    on_device = store.keep(model(tmp_path, b"two"), made("two"))
    dead = store.keep(model(tmp_path, b"three"), made("three"))
    store.layout.tag("release", released.digest)
    done = store.collect(keep=[on_device.digest])
    assert (done.artifacts, done.bytes > 0) == (1, True)
    assert {a.digest for a in store.artifacts()} == {data.digest, released.digest, on_device.digest}
    assert store.verify() == []
    with pytest.raises(ArtifactMissingError):
        store.open(dead.digest)


def test_garbage_is_not_collected_while_a_run_is_under_way(store, monkeypatch):
    monkeypatch.setattr(layout_module, "LOCK_SECONDS", 0.05)
    with store.layout.in_use(), pytest.raises(StoreBusyError) as raised:
        store.collect()
    assert str(raised.value) == (
        f"[E204] store {store.folder} must be free to collect garbage, waited 0 s. "
        "Wait for the other edgeloop process, or end it"
    )


def test_a_full_disk_is_named_and_nothing_half_done_stays(store, tmp_path, monkeypatch):
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError) as raised:
        store.keep(model(tmp_path), made("k"))
    assert str(raised.value).startswith(
        f"[E203] store {store.folder} must have room for model.onnx, got "
    )
    assert str(raised.value).endswith(
        "bytes free. Free space or run `edgeloop gc`; nothing was changed"
    )
    assert list(store.layout.digests()) == []
    assert list((store.folder / ".tmp").iterdir()) == []
    assert store.artifacts() == []


def test_a_full_disk_under_the_index_is_named_and_what_was_kept_stays(store, tmp_path):
    kept = store.keep(model(tmp_path), made("k"))
    with sqlite3.connect(store.folder / "edgeloop.sqlite") as database:
        pages = database.execute("pragma page_count").fetchone()[0]
    database.close()
    connect = sqlite3.connect

    def narrow(*given, **named):
        opened = connect(*given, **named)
        opened.execute(f"pragma max_page_count = {pages}")
        return opened

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", narrow)
        with pytest.raises(DiskFullError) as raised:
            keep_many(store)
    assert str(raised.value).startswith(
        f"[E203] store {store.folder} must have room for edgeloop.sqlite, got "
    )
    assert Store(store.folder).by_key("k") == kept


def keep_many(store):
    for number in range(200):
        store.keep(Finding(check="c", verdict=Verdict.PASS), made(f"k{number}"))


def test_an_index_that_was_begun_and_never_filled_is_filled(store, tmp_path):
    kept = store.keep(model(tmp_path), made("k"))
    (store.folder / "edgeloop.sqlite").unlink()
    Index(store.folder / "edgeloop.sqlite")  # killed here
    assert Store(store.folder).by_key("k") == kept


def test_index_json_names_roots_only(store, tmp_path):
    kept = store.keep(model(tmp_path), made("k"))
    assert json.loads((store.folder / "index.json").read_bytes())["manifests"] == []
    store.layout.tag("root", kept.digest)
    (entry,) = json.loads((store.folder / "index.json").read_bytes())["manifests"]
    assert entry["digest"] == kept.digest
    store.layout.untag("root")
    assert store.layout.tags() == {}


WRITER = """
import sys
from pathlib import Path
from edgeloop.store.artifacts import Store
from edgeloop.types import Finding, MadeBy, Verdict
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
for n in range(100000):
    how = MadeBy(plugin="check/x.v1", key=f"k{n}", source="s")
    kept = store.keep(Finding(check=f"c{n}", verdict=Verdict.PASS), how)
    store.layout.tag("newest", kept.digest)
    print(n, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_whole_store_with_all_that_was_acknowledged(tmp_path):
    folder = tmp_path / "store"
    for round_number in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.013 * round_number)
        os.kill(writer.pid, signal.SIGKILL)
        done = [int(line) for line in writer.stdout.read().splitlines()]
        writer.wait()
        writer.stdout.close()
        store = Store(folder)
        assert store.verify() == []
        for number in done:
            assert store.by_key(f"k{number}") is not None
    store.rebuild()
    assert list((folder / ".tmp").iterdir()) == []
    assert store.verify() == []
