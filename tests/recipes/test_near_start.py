"""A fine-tune that stays near the release: what moves, by how much, and until what size."""

import numpy as np
import pytest
import torch

from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.recipes.image_classifier import ImageClassifier
from edgeloop.recipes.near_start import LEVELS, Held, NearStart, update_bytes
from edgeloop.types import AnswerSpec
from model_side import CLASSES, RECIPE, bars


def line(weights: list[list[float]]) -> torch.nn.Linear:
    net = torch.nn.Linear(len(weights[0]), len(weights))
    with torch.no_grad():
        net.weight.copy_(torch.tensor(weights))
    return net


def learnt(net: torch.nn.Linear, start, bit_price: float, steps: int = 40) -> torch.Tensor:
    """After steps towards an answer in which the second input has no part."""
    near = NearStart(net, start, stride=8, bit_price=bit_price)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        inputs = torch.randn(32, 3, generator=torch.Generator().manual_seed(5))
        inputs[:, 1] *= 1e-3
        ((net(inputs) - 3 * inputs[:, :1]) ** 2).mean().backward()
        near.before_step()
        optimizer.step()
        near.after_step(optimizer)
    return net.weight.detach()


START = [[1.0, 0.5, -0.25]]


def test_weights_move_by_whole_strides_of_the_start_s_steps():
    net = line(START)
    start = {name: part.clone() for name, part in net.state_dict().items()}
    moves = (learnt(net, start, 0.0) - torch.tensor(START)) * LEVELS / 8
    assert moves.abs().max() >= 1
    assert (moves - moves.round()).abs().max() < 1e-4


def test_a_weight_beyond_the_levels_that_there_are_stays_within_them():
    net = line(START)
    start = {name: part.clone() for name, part in net.state_dict().items()}
    assert learnt(net, start, 0.0, steps=200).abs().max() <= 1.0 + 1e-6


def test_a_weight_that_matters_little_goes_back_first():
    start = torch.tensor([[1.0, 1.0, 1.0]])
    held = Held.of(start + 0.5, start, stride=8)
    held.pull(torch.tensor([[1.0, 0.1, 0.01]]), rate=1e-3)
    moved = (held.real - start)[0].tolist()
    assert 0.4 < moved[0] < 0.5
    assert 0.1 < moved[1] < 0.4
    assert moved[2] == 0


def test_at_a_high_price_nothing_moves():
    net = line([[0.2, 0.5, -1.0]])
    start = {name: part.clone() for name, part in net.state_dict().items()}
    assert torch.equal(learnt(net, start, 1e3), start["weight"])


def test_once_settled_nothing_is_pulled_and_what_has_not_moved_stays():
    net = line([[0.2, 0.5, -1.0]])
    start = {name: part.clone() for name, part in net.state_dict().items()}
    near = NearStart(net, start, stride=1, bit_price=1e3)
    near.before_step()
    with torch.no_grad():
        net.weight += torch.tensor([[0.1, 0.0, 0.0]])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    near.after_step(optimizer)  # has no gradient yet, so that nothing is pulled
    near.settle()
    for _ in range(5):
        optimizer.zero_grad()
        net(torch.ones(1, 3)).sum().backward()
        near.before_step()
        optimizer.step()
        near.after_step(optimizer)
    assert (net.weight != start["weight"])[0].tolist() == [True, False, False]


@pytest.fixture(scope="module")
def moved(workplace):
    images, labels = bars(240, seed=8)
    whole = write(
        name="bars",
        inputs={"image": np.roll(images, 1, axis=2)},
        target=("label", labels),
        answer=AnswerSpec(kind="label", params={"classes": CLASSES}),
        scratch=workplace().scratch,
        provenance={},
    )
    return Stratified(test=0.25, validation=0.15).run(whole, workplace())


@pytest.fixture(scope="module")
def tuned(torch_model, moved, workplace):
    def run(**parameters):
        recipe = ImageClassifier(
            width=16, batch=16, tune_epochs=2, near_epochs=2, toward="current", **parameters
        )
        context = workplace(snapshot=moved, start=torch_model, current=torch_model)
        return recipe.build(moved, context)

    return run


def weights(model) -> dict[str, torch.Tensor]:
    return dict(RECIPE.module(model).state_dict())


def test_the_price_of_a_bit_rises_until_the_update_is_small_enough(tuned, torch_model):
    free = tuned(bit_price=1e-6).notes["toward"]
    limit = int(0.85 * free[0]["bytes"])
    model = tuned(bit_price=1e-6, update_bytes=limit)
    rungs = model.notes["toward"]
    assert rungs[0] == free[0]
    assert [one["bit_price"] for one in rungs] == [1e-6 * 2**n for n in range(len(rungs))]
    assert all(one["bytes"] > limit for one in rungs[:-1])
    net = RECIPE.module(model)
    assert update_bytes(weights(torch_model), net) == rungs[-1]["bytes"] <= limit


def test_norms_and_biases_alone_leave_every_other_weight(tuned, torch_model):
    old, new = weights(torch_model), weights(tuned(move="norms"))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert not [name for name in changed if old[name].dim() > 1]


def test_the_last_layer_alone_leaves_every_other_weight(tuned, torch_model):
    old, new = weights(torch_model), weights(tuned(move="last_layer"))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert {name for name in changed if "running" not in name and "tracked" not in name} == {
        "head.weight",
        "head.bias",
    }


def test_without_a_release_it_is_built_as_ever(moved, workplace):
    recipe = ImageClassifier(epochs=1, width=4, batch=16)
    near = ImageClassifier(epochs=1, width=4, batch=16, toward="current")
    one, other = (r.build(moved, workplace(snapshot=moved)) for r in (recipe, near))
    assert one.files["weights.safetensors"].read_bytes() == (
        other.files["weights.safetensors"].read_bytes()
    )
