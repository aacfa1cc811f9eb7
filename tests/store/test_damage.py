"""What a disk did to a store is named with who needs it, and mended by the next run."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeloop.cli.main import app
from edgeloop.store import artifacts
from edgeloop.store.artifacts import Store
from edgeloop.store.manifest import digest_of
from edgeloop.types import AnswerSpec, Finding, MadeBy, Model, TensorSpec, Verdict


def keep(store: Store, folder: Path):
    """One model, made by the step ``k``."""
    (folder / "model.onnx").write_bytes(b"weights")
    model = Model(
        format="onnx",
        answer=AnswerSpec(kind="label", params={"classes": ["a", "b"]}),
        inputs=(TensorSpec(name="image", dtype="uint8", shape=(2, 2)),),
        files={"model.onnx": folder / "model.onnx"},
    )
    return store.keep(model, MadeBy(plugin="recipe/test.v1", key="k", source="s"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / ".edgeloop")


def damage(store: Store, digest: str, new: bytes) -> None:
    blob = store.layout.blob(digest)
    blob.chmod(0o644)
    blob.write_bytes(new)


def verify(store: Store, *options: str):
    return CliRunner().invoke(app, ["verify", "--store", str(store.folder), *options])


def test_a_damaged_blob_is_told_with_the_artifacts_and_tags_that_need_it(store, tmp_path):
    kept = keep(store, tmp_path)
    how = MadeBy(plugin="check/x.v1", key="c", source="s")
    finding = store.keep(Finding(check="x", verdict=Verdict.PASS), how, [kept.digest])
    store.layout.tag("toy-run", finding.digest)
    (layer,) = kept.layers
    damage(store, layer.digest, b"wEights")
    (found,) = store.verify()
    assert str(found) == (
        f"[E202] blob {layer.digest} must have the bytes that its digest names,"
        f" got {digest_of(b'wEights')}. It is of {kept.digest[7:19]}, for toy-run;"
        " `edgeloop verify --repair` removes it and the next `edgeloop run` makes it again,"
        " or copy it back from another store or registry"
    )


def test_a_missing_blob_is_told_too(store, tmp_path):
    kept = keep(store, tmp_path)
    (layer,) = kept.layers
    store.layout.remove(layer.digest)
    (found,) = store.verify()
    assert str(found) == (
        f"[E201] blob {layer.digest} must be in the store. It is of {kept.digest[7:19]};"
        " the next `edgeloop run` makes it again, or copy it back from another store or registry"
    )


def test_a_damaged_manifest_counts_as_not_made(store, tmp_path):
    kept = keep(store, tmp_path)
    manifest = store.layout.read(kept.digest)
    damage(store, kept.digest, manifest.replace(b"schemaVersion", b"schemaVersioN"))
    assert [one.blob for one in store.verify()] == [kept.digest]
    assert store.by_key("k") is None


def test_a_file_of_equal_size_with_other_bytes_counts_as_not_made_and_is_made_good(store, tmp_path):
    kept = keep(store, tmp_path)
    damage(store, kept.layers[0].digest, b"wEights")
    assert store.by_key("k") is None
    assert keep(store, tmp_path) == kept
    assert (store.by_key("k"), store.verify()) == (kept, [])


def test_a_file_that_takes_long_to_hash_is_looked_at_by_its_size(store, tmp_path, monkeypatch):
    kept = keep(store, tmp_path)
    monkeypatch.setattr(artifacts, "HASHED", 6)
    damage(store, kept.layers[0].digest, b"wEights")
    assert store.by_key("k") == kept
    damage(store, kept.layers[0].digest, b"weights and more")
    assert store.by_key("k") is None


def test_repair_removes_what_is_damaged_and_the_next_run_makes_it_again(store, tmp_path):
    kept = keep(store, tmp_path)
    damage(store, kept.layers[0].digest, b"wEights")
    done = verify(store, "--repair", "--format", "json")
    (told,) = json.loads(done.stdout)["damage"]
    assert (done.exit_code, told["blob"], told["got"]) == (
        3,
        kept.layers[0].digest,
        digest_of(b"wEights"),
    )
    assert kept.layers[0].digest not in store.layout
    assert store.by_key("k") is None
    keep(store, tmp_path)
    done = verify(store, "--repair")
    assert (done.exit_code, done.stdout) == (0, f"{store.folder}: all blobs are whole\n")
