"""The recipe learns, repeats itself bit for bit, and refuses what it cannot learn from."""

import dataclasses
import hashlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgeloop.data.augment import changed
from edgeloop.data.merge import merge
from edgeloop.data.split import Stratified
from edgeloop.errors import DataError, ModelError
from edgeloop.recipes.image_classifier import ImageClassifier
from edgeloop.types import AnswerSpec, Model, Snapshot, TensorSpec
from model_side import RECIPE, bars


def digest(model: Model) -> str:
    return hashlib.sha256(model.files["weights.safetensors"].read_bytes()).hexdigest()


def share_right(model: Model, images: np.ndarray, labels: np.ndarray, workplace) -> float:
    answers = workplace().session(model).run({"image": images})
    return float((answers["label"] == labels).mean())


def test_it_learns_what_can_be_learnt(torch_model, workplace):
    assert share_right(torch_model, *bars(90, seed=9), workplace) > 0.95


def test_the_same_data_and_seed_give_the_same_weights(torch_model, snapshot, workplace):
    again = RECIPE.build(snapshot, workplace(snapshot=snapshot))
    assert digest(again) == digest(torch_model)
    assert again.to_meta() == torch_model.to_meta()


def test_another_seed_gives_other_weights(torch_model, snapshot, workplace):
    other = RECIPE.build(snapshot, workplace(snapshot=snapshot, seed=8))
    assert digest(other) != digest(torch_model)


def test_torch_is_left_as_it_was(snapshot, workplace):
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(3)
    try:
        ImageClassifier(epochs=1, width=8).build(snapshot, workplace(snapshot=snapshot))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_curves_have_one_value_per_epoch(torch_model):
    curves = torch_model.notes["curves"]
    assert sorted(curves) == [
        "learning_rate",
        "train_loss",
        "validation_accuracy",
        "validation_loss",
    ]
    assert {len(curve) for curve in curves.values()} == {torch_model.notes["epochs_run"]}


def test_training_stops_when_validation_no_longer_improves(snapshot, workplace):
    recipe = ImageClassifier(epochs=60, width=8, batch=16, patience=1, label_smoothing=0)
    model = recipe.build(snapshot, workplace(snapshot=snapshot))
    losses = model.notes["curves"]["validation_loss"]
    assert len(losses) < 60
    assert losses[-1] >= min(losses[:-1])


def test_the_weights_of_the_best_epoch_are_kept(snapshot, workplace):
    import torch

    recipe = ImageClassifier(epochs=60, width=8, batch=16, patience=1)
    model = recipe.build(snapshot, workplace(snapshot=snapshot))
    images, labels = snapshot.column("image", "validation"), snapshot.column("label", "validation")
    with torch.inference_mode():
        logits = recipe.module(model).logits(torch.from_numpy(images))
    loss = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    found = float(loss(logits, torch.from_numpy(labels)))
    assert found == pytest.approx(min(model.notes["curves"]["validation_loss"]), abs=1e-6)


def test_a_brighter_scene_looks_the_same_to_the_network(torch_model, snapshot, workplace):
    images = snapshot.column("image", "test") // 2
    session = workplace().session(torch_model)
    dark, bright = (session.run({"image": i}) for i in (images, images + 100))
    assert np.abs(dark["probabilities"] - bright["probabilities"]).max() < 1e-4


def test_colour_images_are_learnt_too(snapshot, workplace, tmp_path):
    from edgeloop.data.snapshot import write

    images, labels = bars(120)
    colour = write(
        name="colour",
        inputs={"image": np.stack([images, images // 2, images], axis=-1)},
        target=("label", labels),
        answer=snapshot.answer,
        scratch=tmp_path,
        provenance={},
    )
    rows = Stratified().run(colour, workplace())
    model = ImageClassifier(epochs=4, width=8, batch=16).build(rows, workplace(snapshot=rows))
    assert share_right(model, colour.column("image"), labels, workplace) > 0.9


def test_fine_tuning_learns_the_few_rows_that_came_from_the_field(torch_model, snapshot, workplace):
    turned = bars(30, seed=4)
    field = ({"image": changed(turned[0], turn=90.0)}, turned[1])
    rows = merge(snapshot, field, "field:south", workplace().scratch, split=Stratified())
    images, labels = bars(90, seed=5)
    before = share_right(torch_model, changed(images, turn=90.0), labels, workplace)
    tuned = RECIPE.build(rows, workplace(snapshot=rows, start=torch_model))
    after = share_right(tuned, changed(images, turn=90.0), labels, workplace)
    assert tuned.notes["fine_tuned"]
    assert before < 0.6 < 0.8 < after
    assert share_right(tuned, images, labels, workplace) > 0.9


class Notebook:
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.parameters, self.steps = {}, []

    @contextmanager
    def run(self, name):
        self.name = name
        yield self

    def params(self, values):
        self.parameters |= values

    def metrics(self, values, step):
        self.steps.append((step, values))


def test_parameters_and_curves_go_to_the_tracker_and_progress_is_told(snapshot, workplace):
    notebook, told = Notebook(), []
    context = workplace(
        snapshot=snapshot, tracker=notebook, progress=lambda *step: told.append(step)
    )
    model = ImageClassifier(epochs=2, width=8).build(snapshot, context)
    assert notebook.name == "image_classifier"
    assert notebook.parameters["width"] == 8
    assert notebook.parameters["seed"] == 7
    curves = model.notes["curves"]
    assert [(n, v["train_loss"]) for n, v in notebook.steps] == list(
        enumerate(curves["train_loss"])
    )
    assert told == [("train", 1, 2), ("train", 2, 2)]


def test_a_snapshot_without_a_split_is_refused(snapshot, workplace):
    files = {name: path for name, path in snapshot.files.items() if "split" not in name}
    with pytest.raises(DataError) as caught:
        RECIPE.build(dataclasses.replace(snapshot, files=files), workplace())
    assert str(caught.value) == (
        "[E110] snapshot bars must be split before training. "
        "Name a split under data: in the loop file"
    )


def test_rows_that_are_no_images_are_refused(snapshot, workplace):
    column = TensorSpec(name="image", dtype="float32", shape=(4,))
    with pytest.raises(DataError) as caught:
        RECIPE.build(dataclasses.replace(snapshot, columns=(column,)), workplace())
    assert str(caught.value) == (
        "[E110] snapshot bars must have one input of images, uint8[h, w] or uint8[h, w, c], for "
        "image_classifier, got image float32[4]"
    )


def test_a_model_of_other_classes_is_not_trained_on(torch_model, snapshot, workplace):
    answer = AnswerSpec(kind="label", params={"classes": ["a", "b"]})
    start = dataclasses.replace(torch_model, answer=answer)
    with pytest.raises(ModelError) as caught:
        RECIPE.build(snapshot, workplace(snapshot=snapshot, start=start))
    assert str(caught.value) == (
        "[E120] model to start from must have the inputs and the classes of snapshot bars, "
        "got 2 classes, inputs [[12, 12]]"
    )


def test_an_exported_model_is_not_trained_on(onnx_model, snapshot: Snapshot, workplace):
    with pytest.raises(ModelError) as caught:
        RECIPE.build(snapshot, workplace(snapshot=snapshot, start=onnx_model))
    assert str(caught.value) == (
        "[E120] model to start from must be a torch model, got onnx. "
        "Name the recipe's own model, not one that a pass exported"
    )


def test_broken_weights_are_named(torch_model, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(torch_model.files["weights.safetensors"].read_bytes()[:100])
    broken = dataclasses.replace(torch_model, files={path.name: path})
    with pytest.raises(ModelError) as caught:
        RECIPE.module(broken)
    assert str(caught.value).startswith(
        "[E120] model file weights.safetensors must hold the tensors of its architecture, got "
    )


def test_a_parameter_out_of_its_range_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        ImageClassifier(epochs=0)
