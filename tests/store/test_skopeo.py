"""A third party's tool reads the layout: Debian's skopeo."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeloop.store.artifacts import Store
from edgeloop.types import AnswerSpec, MadeBy, Model, TensorSpec

pytestmark = pytest.mark.skipif(
    shutil.which("skopeo") is None, reason="needs Debian's skopeo; CI installs it"
)


def kept(folder: Path) -> Store:
    path = folder / "model.onnx"
    path.write_bytes(b"weights")
    model = Model(
        format="onnx",
        answer=AnswerSpec(kind="label", params={"classes": ["a"]}),
        inputs=(TensorSpec(name="image", dtype="uint8", shape=(2, 2)),),
        files={"model.onnx": path},
    )
    store = Store(folder / "store")
    how = MadeBy(plugin="recipe/x.v1", key="k", source="s")
    store.layout.tag("newest", store.keep(model, how).digest)
    return store


def test_skopeo_inspects_and_copies_an_artifact_unchanged(tmp_path):
    store = kept(tmp_path)
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{store.folder}:newest"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert raw == store.layout.read(store.layout.tags()["newest"])
    assert json.loads(raw)["artifactType"] == "application/vnd.edgeloop.model.v1"
    copy = tmp_path / "copy"
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{store.folder}:newest", f"oci:{copy}:newest"],
        check=True, capture_output=True,
    )  # fmt: skip
    again = Store(copy)
    assert again.layout.tags() == store.layout.tags()
    assert again.open("newest").files["model.onnx"].read_bytes() == b"weights"
