"""The networks, one of each architecture, and how they are trained and asked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from delta.sources import LETTERS, WINDOW, Array, Data

BATCH, TEXT_BATCH = 64, 16
STEPS_OF_TEXT = 120  # that are called one epoch of a text


class Pictures(nn.Module):
    """Three convolutions and two dense layers: 390,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.c2, self.b2 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.c3, self.b3 = nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128)
        self.f1, self.head = nn.Linear(1152, 256), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, 1, 28, 28] -> float32[n, 10]."""
        for conv, norm in ((self.c1, self.b1), (self.c2, self.b2), (self.c3, self.b3)):
            x = functional.max_pool2d(functional.relu(norm(conv(x))), 2)
        return self.head(functional.relu(self.f1(x.flatten(1))))


class Dense(nn.Module):
    """Two hidden layers of ``width``."""

    def __init__(self, width: int, inputs: int, classes: int) -> None:
        super().__init__()
        self.f1, self.f2 = nn.Linear(inputs, width), nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, ...] -> float32[n, classes]."""
        x = functional.relu(self.f1(x.flatten(1)))
        return self.head(functional.relu(self.f2(x)))


class Series(nn.Module):
    """Three convolutions over time: 180,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv1d(12, 128, 5, padding=2)
        self.c2 = nn.Conv1d(128, 160, 5, padding=2)
        self.c3 = nn.Conv1d(160, 128, 3, padding=1)
        self.head = nn.Linear(128, 9)

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, 12, time] -> float32[n, 9]."""
        for conv in (self.c1, self.c2, self.c3):
            x = functional.relu(conv(x))
        return self.head(x.mean(2))


class Block(nn.Module):
    """Attention to what came before, then two dense layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width)
        self.v, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """float32[n, time, width] -> the same; ``hidden`` is -inf where one must not look."""
        h = self.n1(x)
        q, k, v = (self._parted(part(h)) for part in (self.q, self.k, self.v))
        share = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3]) + hidden).softmax(3)
        x = x + self.o((share @ v).transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.n2(x))))

    def _parted(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, x.shape[2] // self.heads)).transpose(1, 2)


class Letters(nn.Module):
    """A character transformer: 4 blocks of width 128, 830,000 weights."""

    def __init__(self, width: int = 128, blocks: int = 4) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(LETTERS, width), nn.Embedding(WINDOW, width)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, LETTERS)
        hidden = torch.full((WINDOW, WINDOW), -1e9).triu(1)
        self.register_buffer("hidden", hidden, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """int64[n, WINDOW] -> float32[n, WINDOW, LETTERS]."""
        h = self.token(x) + self.place.weight
        for block in self.blocks:
            h = block(h, self.hidden)
        return self.head(self.norm(h))


def new(model: str, data: Data) -> nn.Module:
    """The untrained network of ``model`` for such data."""
    if model == "clothes":
        return Pictures()
    if model == "vowels":
        return Series()
    if model == "letters":
        return Letters()
    width, classes = (256, 10) if model == "digits" else (192, 2)
    return Dense(width, int(np.prod(data.x.shape[1:])), classes)


def train(
    net: nn.Module, data: Data, *, epochs: float, rate: float, only: Iterable[nn.Parameter] = ()
) -> nn.Module:
    """Adam with a cosine schedule, on ``only`` or on all; the net is changed and given back."""
    batches = list(_batches(data, epochs))
    optimizer = torch.optim.Adam(list(only) or net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    net.train()
    for x, y in batches:
        optimizer.zero_grad()
        functional.cross_entropy(net(x).flatten(0, -2), y.flatten()).backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def _batches(data: Data, epochs: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows drawn with torch's own seed."""
    x = torch.from_numpy(data.x)
    if not len(data.y):
        for _ in range(round(epochs * STEPS_OF_TEXT)):
            places = torch.randint(len(x) - WINDOW - 1, (TEXT_BATCH, 1)) + torch.arange(WINDOW)
            yield x[places], x[places + 1]
        return
    y, size = torch.from_numpy(data.y), min(BATCH, len(data.y))
    for _ in range(round(epochs)):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - size + 1, size):
            rows = order[start : start + size]
            yield x[rows], y[rows]


def test_rows(data: Data) -> tuple[Array, Array]:
    """What a net is asked, and what is true: rows and classes, or windows and their next letters.

    Windows of a text do not overlap.
    """
    if len(data.test_y):
        return data.test_x, data.test_y
    count = (len(data.test_x) - 1) // WINDOW
    asked = data.test_x[: count * WINDOW].reshape(count, WINDOW)
    return asked, data.test_x[1 : count * WINDOW + 1].reshape(count, WINDOW)
