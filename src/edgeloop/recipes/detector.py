"""Train a small detector that says where in an image things are, and which.

The network, and how boxes come out of it, is in ``centre_net.py``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass as value
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.data.augment_boxes import BoxAugmentation
from edgeloop.errors import DataError, ModelError
from edgeloop.plugins import register
from edgeloop.recipes.before_training import check_format, check_split
from edgeloop.recipes.centre_net import COARSE, Wanted, fit_scale, loss, network
from edgeloop.recipes.drawn import Drawn, chances
from edgeloop.recipes.early_stopping import Best
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

CURVES = ("train_loss", "learning_rate", "validation_loss")
JUDGED = 128  # images at once, where nothing is learnt from them


@register("recipe", "detector.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Detector:
    """Images uint8[n, h, w, 3] in, ``boxes``, ``scores``, ``classes`` and ``count`` out.

    ``width`` is the channels of the maps. ``epochs`` is the most passes over the training part;
    training stops earlier when the validation loss has not improved for ``patience`` epochs, and
    keeps the weights of its best epoch. ``learning_rate`` is the peak of one cycle. How many boxes
    are given at the most, and from which score, is the answer kind's to say.

    With a model to start from, the network of that model is trained on for ``tune_epochs`` at
    ``tune_learning_rate``; of the rows that it sees, the share ``tune_new`` is drawn from the
    populations other than the first, however few those rows are.
    """

    epochs: Annotated[int, Field(ge=1, le=1000)] = 12
    width: Annotated[int, Field(ge=4, le=512, multiple_of=2)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.006
    batch: Annotated[int, Field(ge=2, le=4096)] = 32
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.02
    patience: Annotated[int, Field(ge=1)] = 8
    augment: BoxAugmentation = Field(default_factory=BoxAugmentation)
    tune_epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    tune_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.002
    tune_new: Annotated[float, Field(gt=0, lt=1)] = 0.3

    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy", "safetensors")
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "start")

    def build(self, snapshot: Snapshot, context: Context) -> Model:
        """Train on the part ``train``, stop by the part ``validation``.

        The same snapshot, seed and thread count give the same weights on the same machine.

        Raises:
            DataError: the snapshot has no colour images as its only input, no boxes, or no split.
            ModelError: ``context.start`` has other inputs or another answer than ``snapshot``.
        """
        spec = _images(snapshot)
        started = time.monotonic()
        with repeatable(context.seed, context.budget.threads):
            if context.start is None:
                shape = self._architecture(spec, snapshot)
                net = network(shape)
                fit_scale(net, snapshot.column(spec.name, "train"))
            else:
                _check_start(context.start, snapshot)
                shape = dict(context.start.notes["architecture"])
                net = self.module(context.start)
            curves = self._train(net, snapshot, context)
            curves["validation_quality"] = [_quality(net, snapshot)]
        model = trained(net, "detector.v1", shape, curves, snapshot, context)
        logger.info(
            "recipe.done name=detector.v1 epochs=%d validation_quality=%.4f seconds=%.1f",
            len(curves["train_loss"]),
            curves["validation_quality"][0],
            time.monotonic() - started,
        )
        return model

    @staticmethod
    def module(model: Model) -> torch.nn.Module:
        """The trained network: pixels in, ``(boxes, scores, classes, count)`` out, evaluation mode.

        Raises:
            ModelError: its weights are missing, broken, or do not fit its architecture.
        """
        return loaded(network, model)

    def _architecture(self, spec: TensorSpec, snapshot: Snapshot) -> dict[str, Json]:
        """The network as data: who builds it again needs no more than this."""
        kind = open_kind(snapshot.answer)
        return {
            "side": list(spec.shape[:2]),
            "width": self.width,
            "classes": len(snapshot.answer.params["classes"]),
            **{name: getattr(kind, name) for name in ("most", "score", "iou")},
        }

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
                learnt = steps.epoch(_loss(net, *batch) for batch in batches)
                curves.add(learnt, steps.rate(), _judged(net, watched))
                curves.report(run, epoch)
                context.progress("train", epoch + 1, epochs)
                if best.reached(epoch, curves["validation_loss"][-1], net):
                    break
        best.restore(net)
        return curves


# How it learns ----------------------------------------------------------------------------------


@value(frozen=True, kw_only=True)
class _Rows:
    """Images with their boxes, and how likely each is to be drawn in an epoch."""

    images: Array
    boxes: Array
    drawn: Drawn

    @classmethod
    def of(cls, snapshot: Snapshot, part: str, new: float | None = None) -> _Rows:
        """The rows of a part; of what is drawn the share ``new`` is of later populations."""
        images = snapshot.column(snapshot.inputs[0], part)
        chance = None if new is None else chances(snapshot.column("profile", part) > 0, new)
        return cls(
            images=images,
            boxes=snapshot.column(snapshot.target, part),
            drawn=Drawn(count=len(images), chance=chance),
        )

    def batches(
        self, size: int, augment: BoxAugmentation, generator: np.random.Generator
    ) -> Iterator[tuple[Array, Array]]:
        """One epoch: images changed by ``augment``, with their boxes."""
        for places in self.drawn.places(size, generator):
            yield augment.draw(self.images[places], self.boxes[places], generator)

    def in_order(self) -> Iterator[tuple[Array, Array]]:
        """Every row once, as it is."""
        for start in range(0, len(self.images), JUDGED):
            part = slice(start, start + JUDGED)
            yield self.images[part], self.boxes[part]


def _loss(net: torch.nn.Module, images: Array, boxes: Array) -> torch.Tensor:
    import torch

    return loss(net.maps(torch.from_numpy(images)), Wanted.of(boxes, images.shape[1:3]))


def _judged(net: torch.nn.Module, rows: _Rows) -> float:
    """Mean loss of rows that it does not learn from."""
    import torch

    net.eval()
    with torch.inference_mode():
        losses = [float(_loss(net, *part)) * len(part[0]) for part in rows.in_order()]
    return sum(losses) / len(rows.images)


def _quality(net: torch.nn.Module, snapshot: Snapshot) -> float:
    """Mean quality, 0 to 1, of what the network gives for the part ``validation``."""
    import numpy as np
    import torch

    kind, rows, found = open_kind(snapshot.answer), _Rows.of(snapshot, "validation"), []
    net.eval()
    with torch.inference_mode():
        for images, boxes in rows.in_order():
            given = [part.numpy() for part in net(torch.from_numpy(images))]
            found.append(kind.quality(dict(zip(kind.outputs, given, strict=True)), boxes))
    return round(float(np.concatenate(found).mean()), 8)


# What goes in -----------------------------------------------------------------------------------


def _images(snapshot: Snapshot) -> TensorSpec:
    """The one input column, which must hold colour images that the network can halve."""
    specs = snapshot.input_specs()
    named = f"snapshot {snapshot.name}"
    shape = specs[0].shape if len(specs) == 1 and specs[0].dtype == "uint8" else ()
    if len(shape) != 3 or shape[2] != 3 or shape[0] % COARSE or shape[1] % COARSE:
        raise DataError(
            named,
            f"must have one input of images for detector, uint8[h, w, 3] with sides that are"
            f" multiples of {COARSE}",
            got=", ".join(f"{s.name} {s.dtype}{list(s.shape)}" for s in specs) or "no input",
        )
    if snapshot.answer.kind.partition(".")[0] != "boxes":
        raise DataError(named, "must have boxes for detector", got=snapshot.answer.kind)
    check_split(snapshot)
    return specs[0]


def _check_start(start: Model, snapshot: Snapshot) -> None:
    """Raise unless the model to start from answers the same question."""
    check_format(start, "torch")
    if (start.inputs, start.answer) != (snapshot.input_specs(), snapshot.answer):
        raise ModelError(
            "model to start from",
            f"must have the inputs and the answer of snapshot {snapshot.name}",
            got=f"{start.answer.kind}, inputs {[list(i.shape) for i in start.inputs]}",
        )
