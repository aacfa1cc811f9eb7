"""A small world for tests of the model side: three classes, which are learnt at once."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest

from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.passes.export_onnx import ExportOnnx
from edgeloop.passes.quantize import Quantize
from edgeloop.plugins import Context
from edgeloop.recipes.image_classifier import ImageClassifier
from edgeloop.types import AnswerSpec, Model, Snapshot

T = TypeVar("T")
KEPT: dict[str, Any] = {}  # each room's conftest has fixtures of its own: what they make is shared

CLASSES = ["left", "right", "middle"]
RECIPE = ImageClassifier(epochs=5, width=16, batch=16)


def bars(rows: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A bright bar at one of three places, in noise: uint8[n, 12, 12] and int64[n]."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % len(CLASSES)
    images = generator.integers(0, 60, (rows, 12, 12))
    for label, columns in enumerate((slice(0, 3), slice(9, 12), slice(5, 7))):
        images[labels == label, :, columns] += 150
    return images.astype(np.uint8), labels.astype(np.int64)


def once(name: str, make: Callable[[], T]) -> T:
    """What ``make`` gives, made by the first who asks in this process."""
    if name not in KEPT:
        KEPT[name] = make()
    return KEPT[name]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Context]:
    """A context with an empty folder of its own each time."""

    def new(**given) -> Context:
        return Context(scratch=tmp_path_factory.mktemp("scratch"), **{"seed": 7, **given})

    return new


@pytest.fixture(scope="session")
def snapshot(workplace) -> Snapshot:
    return once("snapshot", lambda: _divided(workplace))


def _divided(workplace: Callable[..., Context]) -> Snapshot:
    images, labels = bars(240)
    whole = write(
        name="bars",
        inputs={"image": images},
        target=("label", labels),
        answer=AnswerSpec(kind="label", params={"classes": CLASSES}),
        scratch=workplace().scratch,
        provenance={},
    )
    return Stratified(test=0.25, validation=0.15).run(whole, workplace())


@pytest.fixture(scope="session")
def torch_model(snapshot, workplace) -> Model:
    return once("torch", lambda: RECIPE.build(snapshot, workplace(snapshot=snapshot)))


@pytest.fixture(scope="session")
def onnx_model(torch_model, snapshot, workplace) -> Model:
    place = workplace(snapshot=snapshot)
    return once("onnx", lambda: ExportOnnx().run(torch_model, place))


@pytest.fixture(scope="session")
def int8_model(onnx_model, snapshot, workplace) -> Model:
    place = workplace(snapshot=snapshot)
    return once("int8", lambda: Quantize(calibrate=64).run(onnx_model, place))
