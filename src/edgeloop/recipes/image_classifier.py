"""Train a small depthwise-separable CNN that names what an image shows.

The network takes raw pixels (uint8) and gives probabilities and a label: its preprocessing is
inside, fitted on the training part. Depthwise-separable convolutions: Howard et al. 2017,
arXiv:1704.04861. Label smoothing: Szegedy et al. 2016, arXiv:1512.00567.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass as value
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.data.augment import Augmentation
from edgeloop.errors import DataError, ModelError
from edgeloop.plugins import register
from edgeloop.quantities import AtMost
from edgeloop.recipes.before_training import check_format, check_split
from edgeloop.recipes.drawn import Drawn, chances
from edgeloop.recipes.early_stopping import Best
from edgeloop.recipes.near_ladder import Ladder, Moving, freeze
from edgeloop.recipes.near_start import NearStart, update_bytes
from edgeloop.recipes.one_cycle import OneCycle
from edgeloop.recipes.repeatable import repeatable
from edgeloop.recipes.tracked import Curves, tracked
from edgeloop.recipes.weights import loaded, trained

if TYPE_CHECKING:
    import numpy as np
    import torch

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Json, Model, Snapshot, TensorSpec

logger = logging.getLogger(__name__)

STRIDES = (1, 2, 1)  # of the blocks; the stem halves the image once more
GROWTH = (2, 4, 4)  # a block's channels, times the stem's
DROPOUT = 0.1
PULLED = 0.55  # of the epochs near a release: moves are pulled back; then what moved settles
CURVES = ("train_loss", "learning_rate", "validation_loss", "validation_accuracy")


@register("recipe", "image_classifier.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ImageClassifier:
    """Images in, ``probabilities`` float32[n, classes] and ``label`` int64[n] out.

    Images are uint8[n, h, w] or uint8[n, h, w, 3]. ``width`` is the stem's channels. ``epochs`` is
    the most passes over the training part; training stops earlier when the validation loss has not
    improved for ``patience`` epochs, and keeps the weights of its best epoch. ``learning_rate`` is
    the peak of one cycle. Each image is centred on its own mean inside the network, so that a
    brighter scene looks the same to it.

    With a model to start from, the network of that model is trained on for ``tune_epochs`` at
    ``tune_learning_rate``; of the rows that it sees, the share ``tune_new`` is drawn from the
    populations other than the first, however few those rows are.

    ``toward`` ``current``: the model of the release that is out is what it starts from, in a plain
    run too, and only so much of it changes that the update is small. ``move`` says what may:
    ``sparse`` lets each weight move that is worth its bits, for ``near_epochs`` more, in which the
    network learns to answer as it did when it was free; ``last_layer`` and ``norms`` (with all
    biases) let nothing else learn. ``bit_price`` is the loss that one bit of the update may cost.
    With ``update_bytes`` it is doubled, and ``near_epochs`` are learnt on, until the update is
    about so small. ``stride`` is how many levels a weight moves at a time: few large moves cost
    less than many small ones.
    """

    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    width: Annotated[int, Field(ge=4, le=512)] = 24
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    batch: Annotated[int, Field(ge=2, le=4096)] = 64
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.02
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    patience: Annotated[int, Field(ge=1)] = 5
    augment: Augmentation = Field(default_factory=Augmentation)
    tune_epochs: Annotated[int, Field(ge=1, le=1000)] = 6
    tune_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.003
    tune_new: Annotated[float, Field(gt=0, lt=1)] = 0.3
    toward: Literal["current"] | None = None
    move: Moving = "sparse"
    update_bytes: Annotated[AtMost, Field(gt=0)] | None = None
    bit_price: Annotated[float, Field(ge=0)] = 3e-7
    stride: Annotated[int, Field(ge=1, le=64)] = 16
    near_epochs: Annotated[int, Field(ge=1, le=1000)] = 8

    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy", "safetensors", "bsdiff4")
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "start")
    needs_by_field: ClassVar[dict[str, tuple[str, ...]]] = {"toward": ("current",)}

    def build(self, snapshot: Snapshot, context: Context) -> Model:
        """Train on the part ``train``, stop by the part ``validation``.

        The same snapshot, seed and thread count give the same weights on the same machine.

        Raises:
            DataError: the snapshot has no images as its only input, no labels, or is not split.
            ModelError: ``context.start`` has other inputs or classes than ``snapshot``.
        """
        spec, classes = _images(snapshot), tuple(snapshot.answer.params["classes"])
        started = time.monotonic()
        with repeatable(context.seed, context.budget.threads):
            if context.start is None:
                shape = _architecture(self.width, spec.shape, len(classes))
                net = _network(shape)
                _fit_scale(net, snapshot.column(spec.name, "train"))
            else:
                _check_start(context.start, snapshot)
                shape = dict(context.start.notes["architecture"])
                net = self.module(context.start)
            curves, rungs = self._learned(net, snapshot, context)
        model = trained(net, "image_classifier.v1", shape, curves, snapshot, context)
        if rungs:
            model = replace(model, notes={**model.notes, "toward": rungs})
        logger.info(
            "recipe.done name=image_classifier.v1 epochs=%d validation_accuracy=%.4f seconds=%.1f",
            len(curves["train_loss"]),
            max(curves["validation_accuracy"]),
            time.monotonic() - started,
        )
        return model

    @staticmethod
    def module(model: Model) -> torch.nn.Module:
        """The trained network: uint8 pixels in, ``(probabilities, label)`` out, evaluation mode.

        Raises:
            ModelError: its weights are missing, broken, or do not fit its architecture.
        """
        return loaded(_network, model)

    def _learned(
        self, net: torch.nn.Module, snapshot: Snapshot, context: Context
    ) -> tuple[Curves, list[dict[str, Json]]]:
        """Train ``net``, and bring it near its start where that is asked; what each price gave."""
        if self.toward is None or context.start is None:
            return self._train(net, snapshot, context), []
        start = {name: part.clone() for name, part in net.state_dict().items()}
        freeze(net, self.move)
        curves = self._train(net, snapshot, context)
        if self.move != "sparse":
            return curves, [{"bytes": update_bytes(start, net)}]

        teacher = copy.deepcopy(net).eval()

        def learn(near: NearStart) -> float:
            return self._train_near(net, teacher, near, snapshot, context)

        ladder = Ladder(bit_price=self.bit_price, stride=self.stride, limit=self.update_bytes)
        return curves, ladder.climbed(net, start, learn)

    def _train_near(
        self,
        net: torch.nn.Module,
        teacher: torch.nn.Module,
        near: NearStart,
        snapshot: Snapshot,
        context: Context,
    ) -> float:
        """``near_epochs`` of answering as ``teacher`` does; the accuracy on ``validation``."""
        import numpy as np

        rows = _Rows.of(snapshot, "train", self.tune_new)
        watched, generator = _Rows.of(snapshot, "validation"), np.random.default_rng(context.seed)
        total = self.near_epochs * rows.drawn.batches(self.batch)
        steps = OneCycle.of(net, rate=self.tune_learning_rate, decay=0.0, steps=total)
        for epoch in range(self.near_epochs):
            if epoch == math.ceil(self.near_epochs * PULLED):
                near.settle()
            batches = rows.batches(self.batch, self.augment, generator)
            steps.epoch((_unlike(net, teacher, images) for images, _ in batches), near)
            context.progress("bring near", epoch + 1, self.near_epochs)
        return _judged(net, watched, self.label_smoothing)[1]

    def _train(self, net: torch.nn.Module, snapshot: Snapshot, context: Context) -> Curves:
        import numpy as np

        tuning = context.start is not None
        epochs = self.tune_epochs if tuning else self.epochs
        rate = self.tune_learning_rate if tuning else self.learning_rate
        rows = _Rows.of(snapshot, "train", self.tune_new if tuning else None)
        watched, generator = _Rows.of(snapshot, "validation"), np.random.default_rng(context.seed)
        total = epochs * rows.drawn.batches(self.batch)
        steps = OneCycle.of(net, rate=rate, decay=self.weight_decay, steps=total)
        curves, best = Curves(*CURVES), Best(patience=self.patience)
        with tracked(context, self) as run:
            for epoch in range(epochs):
                batches = rows.batches(self.batch, self.augment, generator)
                learnt = steps.epoch(_loss(net, *batch, self.label_smoothing) for batch in batches)
                judged = _judged(net, watched, self.label_smoothing)
                curves.add(learnt, steps.rate(), *judged)
                curves.report(run, epoch)
                context.progress("train", epoch + 1, epochs)
                if best.reached(epoch, curves["validation_loss"][-1], net):
                    break
        best.restore(net)
        return curves


# How the network is made ------------------------------------------------------------------------


def _architecture(width: int, shape: tuple[int, ...], classes: int) -> dict[str, Json]:
    """The network as data: who builds it again, and who narrows it, needs no more than this.

    ``widths`` gives the channels of each named group. ``axes`` gives for each tensor the group that
    each of its axes runs over ("" for an axis that no group owns), so that a pass can remove
    channels of a group from every tensor that knows it, without knowing this recipe.
    """
    groups = _groups()
    widths = {"stem": width} | {f"block{i}": width * g for i, g in enumerate(GROWTH)}
    axes = {"stem.0.weight": ["stem", "", "", ""]} | _norm_axes("stem.1", "stem")
    for i, (before, after) in enumerate(pairwise(groups)):
        axes[f"blocks.{i}.0.weight"] = [before, "", "", ""]
        axes |= _norm_axes(f"blocks.{i}.1", before)
        axes[f"blocks.{i}.3.weight"] = [after, before, "", ""]
        axes |= _norm_axes(f"blocks.{i}.4", after)
    axes |= {"head.weight": ["", groups[-1]], "head.bias": [""]}
    return {"shape": list(shape), "classes": classes, "widths": widths, "axes": axes}


def _groups() -> list[str]:
    """The groups from input to output; JSON keeps their widths, but not their order."""
    return ["stem", *(f"block{i}" for i in range(len(GROWTH)))]


def _norm_axes(name: str, group: str) -> dict[str, list[str]]:
    return {f"{name}.{part}": [group] for part in ("weight", "bias", "running_mean", "running_var")}


def _network(architecture: Mapping[str, Json]) -> torch.nn.Module:
    """The untrained network of an architecture. Its class lives here so that torch loads late."""
    import torch
    from torch import nn

    widths = [architecture["widths"][group] for group in _groups()]
    colours = architecture["shape"][2] if len(architecture["shape"]) == 3 else 1

    def block(before: int, after: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
            nn.BatchNorm2d(before),
            nn.ReLU(inplace=True),
            nn.Conv2d(before, after, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )

    class Classifier(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
        """Pixels to logits; ``forward`` adds softmax and label."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(()))
            self.stem = nn.Sequential(
                nn.Conv2d(colours, widths[0], 3, 2, 1, bias=False),
                nn.BatchNorm2d(widths[0]),
                nn.ReLU(inplace=True),
            )
            pairs = zip(widths, widths[1:], STRIDES, strict=False)
            self.blocks = nn.Sequential(*(block(*pair) for pair in pairs))
            self.drop = nn.Dropout(DROPOUT)
            self.head = nn.Linear(widths[-1], architecture["classes"])

        def logits(self, pixels: torch.Tensor) -> torch.Tensor:
            x = pixels.to(torch.float32) * self.scale
            x = x - x.mean(dim=tuple(range(1, x.dim())), keepdim=True)
            x = x.unsqueeze(1) if pixels.dim() == 3 else x.permute(0, 3, 1, 2)
            x = self.blocks(self.stem(x)).mean(dim=(2, 3))
            found: torch.Tensor = self.head(self.drop(x))
            return found

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            probabilities = torch.softmax(self.logits(pixels), dim=1)
            return probabilities, probabilities.argmax(dim=1)

    return Classifier()


def _fit_scale(net: torch.nn.Module, images: Array) -> None:
    """Store 1 / standard deviation of the training pixels in the network."""
    import torch

    net.scale = torch.tensor(1.0 / max(float(images.std()), 1.0))


# How it learns ----------------------------------------------------------------------------------


@value(frozen=True, kw_only=True)
class _Rows:
    """Images with their labels, and how likely each is to be drawn in an epoch."""

    images: Array
    labels: Array
    drawn: Drawn

    @classmethod
    def of(cls, snapshot: Snapshot, part: str, new: float | None = None) -> _Rows:
        """The rows of a part; of what is drawn the share ``new`` is of later populations."""
        import numpy as np

        labels = snapshot.column(snapshot.target, part).astype(np.int64)
        chance = None if new is None else chances(snapshot.column("profile", part) > 0, new)
        return cls(
            images=snapshot.column(snapshot.inputs[0], part),
            labels=labels,
            drawn=Drawn(count=len(labels), chance=chance),
        )

    def batches(
        self, size: int, augment: Augmentation, generator: np.random.Generator
    ) -> Iterator[tuple[Array, Array]]:
        """One epoch: images changed by ``augment``, with their labels."""
        for places in self.drawn.places(size, generator):
            yield augment.draw(self.images[places], generator), self.labels[places]


def _loss(net: torch.nn.Module, images: Array, labels: Array, smoothing: float) -> torch.Tensor:
    import torch

    logits, truth = net.logits(torch.from_numpy(images)), torch.from_numpy(labels)
    return torch.nn.functional.cross_entropy(logits, truth, label_smoothing=smoothing)


def _unlike(net: torch.nn.Module, teacher: torch.nn.Module, images: Array) -> torch.Tensor:
    """How far the answers of ``net`` are from the teacher's (Hinton et al. 2015, 1503.02531)."""
    import torch

    pixels = torch.from_numpy(images)
    with torch.no_grad():
        wanted = teacher.logits(pixels).log_softmax(dim=1)
    told = net.logits(pixels).log_softmax(dim=1)
    return torch.nn.functional.kl_div(told, wanted, reduction="batchmean", log_target=True)


def _judged(net: torch.nn.Module, rows: _Rows, smoothing: float) -> tuple[float, float]:
    """Loss and accuracy (0 to 1) on rows that it does not learn from."""
    import torch

    net.eval()
    truth = torch.from_numpy(rows.labels)
    with torch.inference_mode():
        logits = net.logits(torch.from_numpy(rows.images))
        loss = torch.nn.functional.cross_entropy(logits, truth, label_smoothing=smoothing)
        return float(loss), float((logits.argmax(dim=1) == truth).float().mean())


# What goes in -----------------------------------------------------------------------------------


def _images(snapshot: Snapshot) -> TensorSpec:
    """The one input column, which must hold images."""
    specs = snapshot.input_specs()
    named = f"snapshot {snapshot.name}"
    if len(specs) != 1 or specs[0].dtype != "uint8" or len(specs[0].shape) not in {2, 3}:
        raise DataError(
            named,
            "must have one input of images, uint8[h, w] or uint8[h, w, c], for image_classifier",
            got=", ".join(f"{s.name} {s.dtype}{list(s.shape)}" for s in specs) or "no input",
        )
    if snapshot.answer.kind.partition(".")[0] != "label":
        raise DataError(named, "must have labels for image_classifier", got=snapshot.answer.kind)
    check_split(snapshot)
    return specs[0]


def _check_start(start: Model, snapshot: Snapshot) -> None:
    """Raise unless the model to start from answers the same question."""
    check_format(start, "torch")
    mine = (start.inputs, list(start.answer.params["classes"]))
    if mine != (snapshot.input_specs(), list(snapshot.answer.params["classes"])):
        raise ModelError(
            "model to start from",
            f"must have the inputs and the classes of snapshot {snapshot.name}",
            got=f"{len(mine[1])} classes, inputs {[list(i.shape) for i in mine[0]]}",
        )
