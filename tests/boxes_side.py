"""A small world of boxes: a wide and a tall bar in noise, which are learnt at once."""

import numpy as np
import pytest

from edgeloop.answers.boxes import Boxes
from edgeloop.data.augment_boxes import BoxAugmentation
from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.recipes.detector import Detector
from edgeloop.types import AnswerSpec, Model, Snapshot

KIND = Boxes(classes=("wide", "tall"), most=3)
SIDE, LONG, SHORT = 32, 14, 6
RECIPE = Detector(
    epochs=16,
    width=8,
    batch=16,
    learning_rate=0.02,
    augment=BoxAugmentation(shift=2, dark=0.2, noise=4, colours=False),
    tune_epochs=1,
)


def answers(*rows: list[tuple]) -> dict[str, np.ndarray]:
    """Outputs of a graph, from (class, box, score) by image."""
    given = {
        "boxes": np.zeros((len(rows), KIND.most, 4), dtype=np.float32),
        "scores": np.zeros((len(rows), KIND.most), dtype=np.float32),
        "classes": np.zeros((len(rows), KIND.most), dtype=np.int64),
        "count": np.array([len(row) for row in rows], dtype=np.int64),
    }
    for image, row in enumerate(rows):
        for place, (label, box, score) in enumerate(row):
            given["boxes"][image, place] = box
            given["scores"][image, place], given["classes"][image, place] = score, label
    return given


def target(*rows: list[tuple]) -> np.ndarray:
    """A target column, from (class, box) by image."""
    column = np.full((len(rows), KIND.most, 5), -1, dtype=np.float32)
    for image, row in enumerate(rows):
        for place, (label, box) in enumerate(row):
            column[image, place] = (label, *box)
    return column


def bars(rows: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """No, one or two bars on grey noise: uint8[n, 32, 32, 3] and float32[n, 3, 5]."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 60, (rows, SIDE, SIDE, 3))
    drawn = []
    for image, count in enumerate(generator.integers(0, 3, rows)):
        drawn.append([])
        for half in range(count):
            label = int(generator.integers(2))
            width, height = (LONG, SHORT) if label == 0 else (SHORT, LONG)
            left = int(generator.integers(1, SIDE - width))
            top = int(generator.integers(0, SIDE // 2 - height + 1)) + half * SIDE // 2
            images[image, top : top + height, left : left + width] += 150
            drawn[-1].append((label, (left, top, left + width, top + height)))
    return images.astype(np.uint8), target(*drawn)


@pytest.fixture(scope="session")
def scenes(workplace) -> Snapshot:
    images, boxes = bars(320)
    whole = write(
        name="bars",
        inputs={"image": images},
        target=("boxes", boxes),
        answer=AnswerSpec(kind="boxes", params={"classes": list(KIND.classes), "most": KIND.most}),
        scratch=workplace().scratch,
        provenance={},
    )
    return Stratified(test=0.25, validation=0.15).run(whole, workplace())


@pytest.fixture(scope="session")
def detector(scenes, workplace) -> Model:
    return RECIPE.build(scenes, workplace(snapshot=scenes))
