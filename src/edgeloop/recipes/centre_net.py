"""The network of the detector: pixels in, boxes out, with all that lies between in the graph.

A thing is a point: where its centre is, a heat map is hot, and the maps beside it say where in the
cell the centre lies, how large the thing is, and what (Zhou, Wang, Krähenbühl 2019, Objects as
Points, arXiv:1904.07850). Here one heat map says that something is there, and a softmax beside it
says what, because few images show each class often. What is given is chosen in the graph: hot
cells that are the hottest of their neighbours, then none that overlaps a hotter one (Bolya et al.
2019, arXiv:1904.02689, "fast NMS").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from edgeloop.types import Array, Json

STRIDE = 4  # pixels of a cell of the maps
COARSE = 8  # pixels of a cell of the coarsest layer: what an image's sides must be multiples of
SIDE = 16.0  # pixels: the size that the maps say when they say nothing
SPREAD = 1.0  # grey levels per unit, before the scale is fitted
CANDIDATES = 3  # per box that may be given: how many cells compete for it
RARE = -3.0  # where heat begins, before the sigmoid: most cells are empty
HEAT, PLACE, KIND = 0, slice(1, 5), slice(5, None)  # the maps, by channel


def network(architecture: Mapping[str, Json]) -> torch.nn.Module:
    """The untrained network of an architecture, which lives here so that torch loads late.

    An architecture is ``side``, ``width``, ``classes``, and the answer's ``most``, ``score``,
    ``iou``.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    width, classes = architecture["width"], architecture["classes"]

    def layer(before: int, after: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, size, stride, size // 2, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )

    class CentreNet(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
        """Pixels to maps; ``forward`` makes boxes of them."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.tensor(1 / SPREAD))
            self.fine = nn.Sequential(
                layer(3, width // 2, stride=2), layer(width // 2, width, stride=2)
            )
            self.coarse = nn.Sequential(
                layer(width, 2 * width, stride=2),
                layer(2 * width, 2 * width),
                layer(2 * width, 2 * width),
                layer(2 * width, width, size=1),
            )
            self.both = nn.Sequential(layer(width, width), layer(width, 2 * width))
            self.head = nn.Conv2d(2 * width, KIND.start + classes, 1)
            nn.init.constant_(self.head.bias[: PLACE.start], RARE)

        def maps(self, pixels: torch.Tensor) -> torch.Tensor:
            x = pixels.to(torch.float32) * self.scale
            x = (x - x.mean(dim=(1, 2, 3), keepdim=True)).permute(0, 3, 1, 2)
            fine = self.fine(x)
            wide = functional.interpolate(self.coarse(fine), scale_factor=2.0, mode="nearest")
            found: torch.Tensor = self.head(self.both(fine + wide))
            return found

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return _chosen(self.maps(pixels), architecture)

    return CentreNet()


def fit_scale(net: torch.nn.Module, images: Array) -> None:
    """Store 1 / standard deviation of the training pixels in the network."""
    import torch

    net.scale = torch.tensor(1.0 / max(float(images.std()), 1.0))


# From maps to boxes, in the graph ---------------------------------------------------------------


def _chosen(maps: torch.Tensor, architecture: Mapping[str, Json]) -> tuple[torch.Tensor, ...]:
    """``boxes``, ``scores``, ``classes`` and ``count`` as the answer kind ``boxes`` has them."""
    import torch

    most = architecture["most"]
    scores, corners, labels = _candidates(maps, architecture)
    hotter = torch.ones(scores.shape[1], scores.shape[1]).triu(1) > 0
    same = labels[:, :, None] == labels[:, None, :]
    beaten = ((_overlaps(corners) > architecture["iou"]) & same & hotter).any(dim=1)
    scores, order = torch.where(beaten, 0.0, scores).topk(most, dim=1)
    given = scores >= architecture["score"]
    boxes = corners.gather(1, order[:, :, None].expand(-1, -1, 4))
    return (
        torch.where(given[:, :, None], boxes, 0.0),
        torch.where(given, scores, 0.0),
        torch.where(given, labels.gather(1, order), 0),
        given.sum(dim=1),
    )


def _candidates(
    maps: torch.Tensor, architecture: Mapping[str, Json]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The hottest cells that are the hottest of their neighbours: scores, corners, classes."""
    import torch
    from torch.nn import functional

    heat = torch.sigmoid(maps[:, HEAT : HEAT + 1])
    peak = (functional.max_pool2d(heat, 3, 1, 1) == heat)[:, 0]
    sure, labels = torch.softmax(maps[:, KIND], dim=1).max(dim=1)
    scores = torch.where(peak, heat[:, 0] * sure, 0.0).flatten(1)
    cells = architecture["side"][1] // STRIDE
    top, index = scores.topk(min(CANDIDATES * architecture["most"], scores.shape[1]), dim=1)
    place = maps[:, PLACE].flatten(2).gather(2, index[:, None].expand(-1, 4, -1))
    column, row = index % cells, index // cells
    return (
        top,
        _corners(place, column, row, architecture["side"]),
        labels.flatten(1).gather(1, index),
    )


def _corners(
    place: torch.Tensor, column: torch.Tensor, row: torch.Tensor, side: list[int]
) -> torch.Tensor:
    """float32[n, candidates, 4] in pixels, inside the image."""
    import torch

    x, y = (column + place[:, 0]) * STRIDE, (row + place[:, 1]) * STRIDE
    wide, high = place[:, 2].exp() * (SIDE / 2), place[:, 3].exp() * (SIDE / 2)
    across = torch.stack([x - wide, x + wide], dim=2).clamp(0, side[1])
    down = torch.stack([y - high, y + high], dim=2).clamp(0, side[0])
    return torch.stack([across[..., 0], down[..., 0], across[..., 1], down[..., 1]], dim=2)


def _overlaps(corners: torch.Tensor) -> torch.Tensor:
    """float32[n, m, m]: intersection over union of every two boxes of an image."""
    import torch

    one, other = corners[:, :, None], corners[:, None]
    edges = torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(
        one[..., :2], other[..., :2]
    )
    shared = edges.clamp(min=0).prod(dim=-1)
    areas = (corners[..., 2:] - corners[..., :2]).clamp(min=0).prod(dim=-1)
    return shared / (areas[:, :, None] + areas[:, None] - shared).clamp(min=1e-6)


# What the maps should be ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the maps of a batch should say; the last four have one entry per true box."""

    heat: Array  # float32[n, rows, columns]: 1 at a centre, and less around it
    image: Array
    cell: tuple[Array, Array]  # row and column of the centre
    place: Array  # float32[m, 4]: centre in its cell, log of width and height over SIDE
    label: Array

    @classmethod
    def of(cls, boxes: Array, side: tuple[int, int]) -> Wanted:
        """From targets float32[n, most, 5]."""
        import numpy as np

        present = boxes[:, :, 0] >= 0
        image, _ = np.nonzero(present)
        edges = boxes[present][:, 1:]
        sizes = np.maximum(edges[:, 2:] - edges[:, :2], 1.0)
        centres = (edges[:, :2] + edges[:, 2:]) / 2 / STRIDE
        rows, columns = (length // STRIDE for length in side)
        cell = np.clip(centres.astype(np.int64), 0, [columns - 1, rows - 1])
        place = np.concatenate([centres - cell, np.log(sizes / SIDE)], axis=1)
        heat = np.zeros((len(boxes), rows, columns), dtype=np.float32)
        np.maximum.at(heat, image, _hills(cell, sizes / STRIDE, rows, columns))
        return cls(
            heat=heat,
            image=image,
            cell=(cell[:, 1], cell[:, 0]),
            place=place.astype(np.float32),
            label=boxes[present][:, 0].astype(np.int64),
        )


def _hills(cell: Array, sizes: Array, rows: int, columns: int) -> Array:
    """float32[m, rows, columns]: a hill over each centre, as wide as a sixth of its thing."""
    import numpy as np

    wide = np.maximum(sizes / 6, 0.5)
    across = (np.arange(columns) - cell[:, :1]) / wide[:, :1]
    down = (np.arange(rows) - cell[:, 1:]) / wide[:, 1:]
    hills = np.exp(-(across[:, None, :] ** 2 + down[:, :, None] ** 2) / 2)
    return hills.astype(np.float32)


def loss(maps: torch.Tensor, wanted: Wanted) -> torch.Tensor:
    """Focal loss of the heat, distance of place and size, cross entropy of the class, summed.

    The focal loss is that of the paper above: cells near a centre are blamed less for being hot.
    """
    import torch
    from torch.nn import functional

    hot, aim = maps[:, HEAT], torch.from_numpy(wanted.heat)
    heat, here = hot.sigmoid(), aim == 1
    missed = (1 - heat) ** 2 * functional.logsigmoid(hot)
    false = (1 - aim) ** 4 * heat**2 * functional.logsigmoid(-hot)
    total = -torch.where(here, missed, false).sum() / max(1, len(wanted.label))
    if not len(wanted.label):
        return total
    there = maps.permute(0, 2, 3, 1)[
        torch.from_numpy(wanted.image), *(torch.from_numpy(axis) for axis in wanted.cell)
    ]
    total = total + functional.l1_loss(there[:, PLACE], torch.from_numpy(wanted.place))
    return total + functional.cross_entropy(
        there[:, KIND], torch.from_numpy(wanted.label), label_smoothing=0.05
    )
