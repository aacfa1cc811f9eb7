"""Pruned networks really are narrower, keep what matters, and are made without training."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgeloop.errors import ModelError
from edgeloop.passes.prune_channels import PruneChannels
from edgeloop.recipes.image_classifier import ImageClassifier
from model_side import bars


def right(model, workplace) -> float:
    images, labels = bars(90, seed=9)
    return float((workplace().session(model).run({"image": images})["label"] == labels).mean())


def test_every_tensor_loses_the_channels_of_its_groups(torch_model, snapshot, workplace):
    pruned = PruneChannels(share=0.5).run(torch_model, workplace(snapshot=snapshot))
    assert torch_model.notes["architecture"]["widths"] == {
        "stem": 16,
        "block0": 32,
        "block1": 64,
        "block2": 64,
    }
    assert pruned.notes["architecture"]["widths"] == {
        "stem": 8,
        "block0": 16,
        "block1": 32,
        "block2": 32,
    }
    shapes = {n: t.shape for n, t in load_file(pruned.files["weights.safetensors"]).items()}
    assert shapes["stem.0.weight"] == (8, 1, 3, 3)
    assert shapes["blocks.0.3.weight"] == (16, 8, 1, 1)
    assert shapes["head.weight"] == (3, 32)
    assert pruned.notes["parameters"] < 0.4 * torch_model.notes["parameters"]


def test_a_pruned_network_still_answers(torch_model, snapshot, workplace):
    pruned = PruneChannels(share=0.25).run(torch_model, workplace(snapshot=snapshot))
    assert right(pruned, workplace) > 0.9


def test_channels_without_influence_go_first(torch_model, snapshot, workplace):
    """Half of the last group is disconnected from the head; pruning half costs nothing."""
    tensors = load_file(torch_model.files["weights.safetensors"])
    dead = np.arange(0, 64, 2)
    tensors["head.weight"][:, dead] = 0
    path = workplace().scratch / "weights.safetensors"
    save_file(tensors, str(path))
    silenced = dataclasses.replace(torch_model, files={path.name: path})
    spare = ("stem", "block0", "block1")
    pruned = PruneChannels(share=0.5, spare=spare).run(silenced, workplace(snapshot=snapshot))
    kept = load_file(pruned.files["weights.safetensors"])["head.weight"]
    assert np.array_equal(kept, tensors["head.weight"][:, 1::2])


def test_normalization_is_measured_again_on_training_rows(torch_model, snapshot, workplace):
    import torch

    count = len(snapshot.column("label", "train"))
    prune = PruneChannels(share=0, rows=count)
    settled = prune.run(forgetful(torch_model, workplace), workplace(snapshot=snapshot))
    net = ImageClassifier.module(settled)
    pixels = torch.from_numpy(snapshot.column("image", "train")).float() * net.scale
    with torch.no_grad():
        seen = net.stem[0]((pixels - pixels.mean(dim=(1, 2), keepdim=True)).unsqueeze(1))
    assert torch.allclose(net.stem[1].running_mean, seen.mean(dim=(0, 2, 3)), atol=0.01)


def forgetful(model, workplace):
    """The network whose normalization no longer knows what it saw."""
    tensors = load_file(model.files["weights.safetensors"])
    for name in tensors:
        if name.endswith("running_mean"):
            tensors[name][:] = 5
    path = workplace().scratch / "weights.safetensors"
    save_file(tensors, str(path))
    return dataclasses.replace(model, files={path.name: path})


def test_what_stays_is_a_multiple_of_channels():
    prune = PruneChannels(share=0.2, multiple=8)
    assert [prune._left(width) for width in (4, 8, 40, 80, 160)] == [4, 8, 32, 64, 128]


def test_pruning_repeats_itself(torch_model, snapshot, workplace):
    one, other = (PruneChannels().run(torch_model, workplace(snapshot=snapshot)) for _ in range(2))
    assert (
        one.files["weights.safetensors"].read_bytes()
        == other.files["weights.safetensors"].read_bytes()
    )


def test_the_model_given_is_left_untouched(torch_model, snapshot, workplace):
    before = torch_model.files["weights.safetensors"].read_bytes(), torch_model.to_meta()
    PruneChannels().run(torch_model, workplace(snapshot=snapshot))
    assert (torch_model.files["weights.safetensors"].read_bytes(), torch_model.to_meta()) == before


def test_a_model_without_an_architecture_is_refused(onnx_model, snapshot, workplace):
    with pytest.raises(ModelError) as caught:
        PruneChannels().run(onnx_model, workplace(snapshot=snapshot))
    assert str(caught.value) == (
        "[E120] prune_channels must be given a torch model whose recipe notes widths and axes, "
        "got format onnx of recipe image_classifier.v1. Place it before export_onnx"
    )
