"""What plugins are shown: a small snapshot, and what was made of it, once per test session."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeloop.data.snapshot import write
from edgeloop.plugins import Context, get
from edgeloop.types import AnswerSpec

sys.path.insert(0, str(Path(__file__).parents[1]))

from table_side import towns, trees  # noqa: F401  (fixtures)
from text_side import encoder, encoder_graph, mails, tiny  # noqa: F401

ROWS = 120
CLASSES = ("dark", "light", "left")


def _images() -> tuple[np.ndarray, np.ndarray]:
    """Three classes that a network learns at once: uint8[n, 12, 12] and int64[n]."""
    generator = np.random.default_rng(3)
    labels = np.arange(ROWS) % len(CLASSES)
    images = generator.integers(0, 60, (ROWS, 12, 12))
    images[labels == 1] += 150
    images[labels == 2, :, :6] += 150
    return images.astype(np.uint8), labels.astype(np.int64)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """The loop file's folder, with the files that sources read: images by class, and arrays."""
    folder = tmp_path_factory.mktemp("home")
    images, labels = _images()
    for number, (image, label) in enumerate(zip(images[:12], labels[:12], strict=True)):
        path = folder / "images" / CLASSES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    np.savez(folder / "sample.npz", image=images, truth=labels)
    return folder


@pytest.fixture(scope="session")
def workplace(tmp_path_factory, home):
    """A context with a new scratch folder each time."""

    def new(**given) -> Context:
        scratch = tmp_path_factory.mktemp("scratch")
        return Context(scratch=scratch, folder=home, seed=7, **given)

    return new


@pytest.fixture(scope="session")
def snapshot(workplace):
    images, labels = _images()
    whole = write(
        name="shades",
        inputs={"image": images},
        target=("label", labels),
        answer=AnswerSpec(kind="label", params={"classes": list(CLASSES)}),
        scratch=workplace().scratch,
        provenance={},
    )
    split = get("split", "stratified")(by="label", test=0.2, validation=0.2, seed=7)
    return split.run(whole, workplace())


@pytest.fixture(scope="session")
def torch_model(snapshot, workplace):
    recipe = get("recipe", "image_classifier")(epochs=6, width=8, batch=16)
    return recipe.build(snapshot, workplace(snapshot=snapshot))


@pytest.fixture(scope="session")
def onnx_model(torch_model, snapshot, workplace, home):
    model = get("pass", "export_onnx")().run(torch_model, workplace(snapshot=snapshot))
    (home / "own.onnx").write_bytes(model.files["model.onnx"].read_bytes())
    return model


@pytest.fixture(scope="session")
def int8_model(onnx_model, snapshot, workplace):
    quantize = get("pass", "quantize")(calibrate=32)
    return quantize.run(onnx_model, workplace(snapshot=snapshot))


@pytest.fixture(scope="session")
def everything(snapshot, torch_model, onnx_model, workplace):
    """A context in which nothing that a plugin may need is missing."""

    def new() -> Context:
        return dataclasses.replace(
            workplace(), snapshot=snapshot, reference=torch_model, current=onnx_model
        )

    return new
