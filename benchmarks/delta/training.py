"""The trained networks: as released, and after each kind of update."""

from __future__ import annotations

import copy
import hashlib
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from delta import nets
from delta.sources import WORLDS, Data, World

RELEASED = "released"
UPDATES = ("domain", "light", "retrain", "head")
EPOCHS = {"clothes": 4, "digits": 10, "vowels": 60, "people": 6, "letters": 4}
RATE = 1e-3
SEEDS = {RELEASED: 1, "domain": 2, "light": 3, "retrain": 4, "head": 5}


@cache
def world(model: str) -> World:
    """The data of a model, read once."""
    return WORLDS[model]()


def data_of(model: str, update: str) -> Data:
    """What an update was trained on: a light fine-tune sees nothing new, the others do."""
    known = world(model)
    return known.before if update in {RELEASED, "light"} else known.after


def trained(model: str, update: str, kept: Path) -> nn.Module:
    """The network after ``update``, or as it was released; kept in ``kept`` by digest."""
    net = nets.new(model, data_of(model, update))
    file = kept / f"{model}-{update}-{digest()}.safetensors"
    if not file.exists():
        found = _trained(model, update, kept)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(found, file)
    net.load_state_dict(load_file(file))
    return net.eval()


def _trained(model: str, update: str, kept: Path) -> dict[str, Tensor]:
    """Weights by name. The released ones, and those of a full retrain, begin at random."""
    data, epochs = data_of(model, update), EPOCHS[model]
    start = None if update in {RELEASED, "retrain"} else trained(model, RELEASED, kept)
    torch.manual_seed(SEEDS[update])
    if start is None:
        net = nets.train(nets.new(model, data), data, epochs=epochs, rate=RATE)
    else:
        net = _tuned(copy.deepcopy(start), update, data, epochs)
    return {name: value.contiguous() for name, value in net.state_dict().items()}


def _tuned(net: nn.Module, update: str, data: Data, epochs: float) -> nn.Module:
    if update == "light":
        return nets.train(net, data, epochs=max(1, epochs / 4), rate=RATE / 10)
    if update == "head":
        head = net.head.parameters()
        for name, part in net.named_modules():  # what is not trained keeps its statistics too
            if name.startswith("b") and isinstance(part, nn.BatchNorm2d):
                part.momentum = 0.0
        return nets.train(net, data, epochs=max(1, epochs / 2), rate=RATE, only=head)
    return nets.train(net, data, epochs=max(1, epochs * 0.75), rate=RATE / 2)


@cache
def digest() -> str:
    """Of the sources that make the weights, and of the library that trains."""
    here = Path(__file__).parent
    parts = [(here / name).read_bytes() for name in ("sources.py", "nets.py", "training.py")]
    return hashlib.sha256(b"".join([*parts, torch.__version__.encode()])).hexdigest()[:12]
