"""The detector learns, exports with all of its choosing inside, and refuses what it cannot take."""

import dataclasses
import hashlib

import numpy as np
import pytest

from boxes_side import KIND, RECIPE, bars
from edgeloop.errors import DataError, InputMismatchError, ModelError
from edgeloop.passes.export_onnx import ExportOnnx
from edgeloop.passes.quantize import Quantize
from edgeloop.recipes.centre_net import Wanted, _chosen
from edgeloop.recipes.detector import Detector
from edgeloop.types import AnswerSpec, Model

SHAPE = {"side": [32, 32], "most": 3, "score": 0.3, "iou": 0.5}


def digest(model: Model) -> str:
    return hashlib.sha256(model.files["weights.safetensors"].read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def exported(detector, scenes, workplace) -> Model:
    return ExportOnnx().run(detector, workplace(snapshot=scenes))


def test_it_finds_what_can_be_found(detector, workplace):
    images, boxes = bars(100, seed=9)
    answers = workplace().session(detector).run({"image": images})
    assert KIND.judged(answers, boxes).mean() > 0.8
    assert KIND.quality(answers, boxes).mean() > 0.8


def test_the_same_data_and_seed_give_the_same_weights(scenes, workplace):
    short = dataclasses.replace(RECIPE, epochs=1)
    one, two = (short.build(scenes, workplace(snapshot=scenes)) for _ in range(2))
    other = short.build(scenes, workplace(snapshot=scenes, seed=8))
    assert digest(one) == digest(two) != digest(other)
    assert one.to_meta() == two.to_meta()


def test_boxes_are_chosen_inside_the_graph_in_every_form(detector, exported, scenes, workplace):
    images, _ = bars(40, seed=5)
    int8 = Quantize(calibrate=64).run(exported, workplace(snapshot=scenes))
    want = workplace().session(detector).run({"image": images})
    for model, tolerance, least in ((exported, 0.001, 1.0), (int8, 0.25, 0.85)):
        got = workplace().session(model).run({"image": images})
        assert sorted(got) == ["boxes", "classes", "count", "scores"]
        assert {n: (str(v.dtype), v.shape) for n, v in got.items()} == {
            "boxes": ("float32", (40, 3, 4)),
            "scores": ("float32", (40, 3)),
            "classes": ("int64", (40, 3)),
            "count": ("int64", (40,)),
        }
        assert KIND.parity(got, want, tolerance).mean() >= least
        behind = np.arange(KIND.most) >= got["count"][:, None]
        assert not got["boxes"][behind].any()
        assert not got["scores"][behind].any()
        assert (got["scores"][~behind] >= KIND.score).all()


def test_an_image_without_a_thing_has_a_count_of_0(exported, workplace):
    dull = np.full((1, 32, 32, 3), 30, dtype=np.uint8)
    answers = workplace().session(exported).run({"image": dull})
    assert answers["count"].tolist() == [0]
    assert KIND.describe(answers, 0) == {"boxes": []}


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((1, 40, 32, 3), dtype=np.uint8), "uint8[1, 40, 32, 3]"),
        (np.zeros((1, 32, 32), dtype=np.uint8), "uint8[1, 32, 32]"),
        (np.zeros((1, 32, 32, 3), dtype=np.float32), "float32[1, 32, 32, 3]"),
    ],
)
def test_an_image_of_another_size_or_mode_is_refused(image, got, exported, workplace):
    session = workplace().session(exported)
    with pytest.raises(InputMismatchError) as caught:
        session.run({"image": image})
    assert str(caught.value) == (
        f"[E121] input 'image' must be uint8[n, 32, 32, 3], got {got}."
        " The first axis is the number of rows"
    )


def maps(*things: tuple[int, int, float, int]):
    """Maps [1, 7, 8, 8] with things (row, column, heat before sigmoid, class) of 16 pixels."""
    import torch

    made = torch.zeros(1, 7, 8, 8)
    made[:, 0] = -9.0
    made[:, 1:3] = 0.5
    for row, column, heat, label in things:
        made[0, 0, row, column], made[0, 5 + label, row, column] = heat, 9.0
    return made


def test_a_box_that_overlaps_a_hotter_one_of_its_class_is_not_given():
    hot, beside, unlike = (2, 3, 2.0, 0), (4, 3, 1.0, 0), (2, 1, 0.8, 1)  # a third shared
    boxes, scores, classes, count = _chosen(maps(hot, beside, unlike), {**SHAPE, "iou": 0.3})
    assert (count.tolist(), classes[0].tolist()) == ([2], [0, 1, 0])
    assert boxes[0].tolist() == [[6.0, 2.0, 22.0, 18.0], [0.0, 2.0, 14.0, 18.0], [0.0] * 4]
    assert scores[0, 0] > scores[0, 1] > scores[0, 2] == 0
    assert _chosen(maps(hot, beside, unlike), {**SHAPE, "iou": 0.4})[3].tolist() == [3]


def test_maps_that_say_what_is_wanted_give_the_true_boxes_back():
    import torch

    _, boxes = bars(20, seed=1)
    wanted = Wanted.of(boxes, (32, 32))
    made = torch.zeros(20, 7, 8, 8)
    made[:, 0] = torch.from_numpy(np.where(wanted.heat == 1, 9.0, -9.0))
    there = made.permute(0, 2, 3, 1)
    there[wanted.image, *wanted.cell, 1:5] = torch.from_numpy(wanted.place)
    there[wanted.image, *wanted.cell, 5 + torch.from_numpy(wanted.label)] = 9.0
    given = [part.numpy() for part in _chosen(made, SHAPE)]
    assert KIND.quality(dict(zip(KIND.outputs, given, strict=True)), boxes).tolist() == [1.0] * 20


def test_fine_tuning_goes_on_from_a_model_of_the_same_answer(detector, scenes, workplace):
    tuned = RECIPE.build(scenes, workplace(snapshot=scenes, start=detector))
    assert tuned.notes["fine_tuned"]
    assert len(tuned.notes["curves"]["train_loss"]) == 1
    assert tuned.notes["curves"]["train_loss"] < detector.notes["curves"]["train_loss"][:1]
    other = dataclasses.replace(
        detector, answer=AnswerSpec(kind="boxes", params={"classes": ["wide"], "most": 3})
    )
    with pytest.raises(ModelError) as caught:
        RECIPE.build(scenes, workplace(snapshot=scenes, start=other))
    assert str(caught.value) == (
        "[E120] model to start from must have the inputs and the answer of snapshot bars,"
        " got boxes, inputs [[32, 32, 3]]"
    )


def test_it_refuses_what_it_cannot_learn_from(scenes, snapshot, workplace):
    with pytest.raises(DataError) as caught:
        Detector().build(snapshot, workplace(snapshot=snapshot))
    assert str(caught.value) == (
        "[E110] snapshot bars must have one input of images for detector, uint8[h, w, 3] with sides"
        " that are multiples of 8, got image uint8[12, 12]"
    )
    files = {n: p for n, p in scenes.files.items() if not n.startswith("split-")}
    unsplit = dataclasses.replace(scenes, files=files)
    with pytest.raises(DataError) as caught:
        Detector().build(unsplit, workplace(snapshot=unsplit))
    assert str(caught.value) == (
        "[E110] snapshot bars must be split before training."
        " Name a split under data: in the loop file"
    )
