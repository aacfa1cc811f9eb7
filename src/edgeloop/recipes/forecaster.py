"""Train a small network that says how a seasonal series goes on, with an interval each time.

The network sees a window of the newest readings (step ``window``) and the time. It corrects the
seasonal naive forecast in units of the window's own mean and deviation (Kim et al., "Reversible
instance normalization", ICLR 2022), and learns three quantiles (Koenker and Bassett, Econometrica
46, 1978). The intervals are then widened or narrowed until they hold what they promise on the part
``validation`` (Romano, Patterson and Candes, "Conformalized quantile regression", NeurIPS 2019).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from edgeloop.errors import DataError, ModelError
from edgeloop.plugins import register
from edgeloop.recipes.before_training import check_format, check_split
from edgeloop.recipes.early_stopping import Best
from edgeloop.recipes.one_cycle import OneCycle
from edgeloop.recipes.repeatable import repeatable
from edgeloop.recipes.series_windows import Examples, examples
from edgeloop.recipes.tracked import Curves, tracked
from edgeloop.recipes.weights import loaded, trained
from edgeloop.runtimes.program.window import TIMES, Window

if TYPE_CHECKING:
    import torch

    from edgeloop.plugins import Context
    from edgeloop.types import Json, Model, Snapshot, TensorSpec

logger = logging.getLogger(__name__)

HARMONICS = (1, 2)  # of each period, as sine and cosine
DROPOUT = 0.1
CURVES = ("train_loss", "learning_rate", "validation_loss")
Period = Annotated[int, Field(ge=2)]


@register("recipe", "forecaster.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Forecaster:
    """A series in, ``value``, ``low`` and ``high`` float32[n, horizons] out.

    The snapshot has one reading per row, in the order of time: a time and a float32 value, with a
    target of answer kind ``series``. Readings are ``every`` seconds apart; ``window`` of them are
    seen, ``season`` of them are the period of the naive forecast. ``fill``, ``least`` and ``most``
    are the step ``window``'s; answers keep to ``least`` and ``most`` too. ``periods`` (seconds) are
    those whose phase the network is told.

    ``normalise`` by the ``window`` makes a series of another size or offset look the same to the
    network; by the ``training`` part, its mean and deviation are fixed, so that the size itself
    says something. ``conformal`` False leaves the intervals as they were learnt.

    Training stops when the validation loss has not improved for ``patience`` epochs, and keeps the
    weights of its best epoch. With a model to start from, its network is trained on for
    ``tune_epochs`` at ``tune_learning_rate``; of what it sees, the share ``tune_new`` is from rows
    that devices sent home, however few those are.
    """

    window: Annotated[int, Field(ge=4, le=8192)] = 168
    season: Annotated[int, Field(ge=2, le=8192)] = 168
    every: Annotated[int, Field(ge=1)] = 3600
    fill: Annotated[int, Field(ge=0)] = 3
    least: float | None = None
    most: float | None = None
    periods: tuple[Period, ...] = (86400, 604800)
    normalise: Literal["window", "training"] = "window"
    conformal: bool = True
    width: Annotated[int, Field(ge=4, le=2048)] = 64
    epochs: Annotated[int, Field(ge=1, le=1000)] = 30
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.003
    batch: Annotated[int, Field(ge=2, le=4096)] = 128
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    patience: Annotated[int, Field(ge=1)] = 6
    tune_epochs: Annotated[int, Field(ge=1, le=1000)] = 8
    tune_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    tune_new: Annotated[float, Field(gt=0, lt=1)] = 0.3

    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy", "safetensors")
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "start")

    @model_validator(mode="after")
    def _season_in_window(self) -> Self:
        if self.season > self.window:
            raise ValueError(f"season must be at most window, {self.window}")
        if self.fill >= self.window:
            raise ValueError(f"fill must be below window, {self.window}")
        return self

    def build(self, snapshot: Snapshot, context: Context) -> Model:
        """Train on the part ``train``, stop and set the intervals by the part ``validation``.

        The same snapshot, seed and thread count give the same weights on the same machine.

        Raises:
            DataError: the snapshot is no series, is not split, or has too few readings behind each
                other for one window in both parts.
            ModelError: ``context.start`` is no forecaster of such a snapshot.
        """
        started = time.monotonic()
        window = self._step(snapshot)
        parts = {part: examples(snapshot, part, window) for part in ("train", "validation")}
        with repeatable(context.seed, context.budget.threads):
            if context.start is None:
                shape = self._architecture(snapshot, parts["train"])
                net = _network(shape)
            else:
                _check_start(context.start, snapshot, window)
                shape = dict(context.start.notes["architecture"])
                net = self.module(context.start)
            curves = self._train(net, parts, context)
            if self.conformal:
                _adjust(net, parts["validation"], snapshot.answer.params["level"])
        program = _program(window)
        model = trained(net, "forecaster.v1", shape, curves, snapshot, context, program)
        logger.info(
            "recipe.done name=forecaster.v1 epochs=%d validation_loss=%.4f seconds=%.1f",
            len(curves["train_loss"]),
            min(curves["validation_loss"]),
            time.monotonic() - started,
        )
        return model

    @staticmethod
    def module(model: Model) -> torch.nn.Module:
        """The trained network: time and history in, ``(value, low, high)`` out, evaluation mode.

        Raises:
            ModelError: its weights are missing, broken, or do not fit its architecture.
        """
        return loaded(_network, model)

    def _step(self, snapshot: Snapshot) -> Window:
        """The program's window for a snapshot that is a series."""
        told, reading = _series(snapshot)
        farthest = max(snapshot.answer.params["horizons"])
        if farthest > self.season:
            raise DataError(
                f"horizons of snapshot {snapshot.name}",
                f"must be at most a season, {self.season} readings, for forecaster",
                got=farthest,
            )
        return Window(
            size=self.window, every=self.every, fill=self.fill,
            time=told.name, value=reading.name, least=self.least, most=self.most,
        )  # fmt: skip

    def _architecture(self, snapshot: Snapshot, rows: Examples) -> dict[str, Json]:
        """The network as data: who builds it again needs no more than this."""
        newest = rows.history[:, -1].astype("float64")
        fixed = None if self.normalise == "window" else [float(newest.mean()), float(newest.std())]
        return {
            "inputs": list(snapshot.inputs),
            "window": self.window,
            "season": self.season,
            "horizons": list(snapshot.answer.params["horizons"]),
            "level": snapshot.answer.params["level"],
            "periods": list(self.periods),
            "width": self.width,
            "fixed": fixed,
            "limits": [self.least, self.most],
        }

    def _train(self, net: Any, parts: dict[str, Examples], context: Context) -> Curves:
        import numpy as np

        tuning = context.start is not None
        epochs = self.tune_epochs if tuning else self.epochs
        rate = self.tune_learning_rate if tuning else self.learning_rate
        rows, generator = parts["train"], np.random.default_rng(context.seed)
        chance = rows.chance(self.tune_new) if tuning else None
        total = epochs * rows.batches(self.batch)
        steps = OneCycle.of(net, rate=rate, decay=self.weight_decay, steps=total)
        curves, best = Curves(*CURVES), Best(patience=self.patience)
        with tracked(context, self) as run:
            for epoch in range(epochs):
                batches = rows.drawn(self.batch, chance, generator)
                learnt = steps.epoch(_pinball(net, batch) for batch in batches)
                curves.add(learnt, steps.rate(), _judged(net, parts["validation"]))
                curves.report(run, epoch)
                context.progress("train", epoch + 1, epochs)
                if best.reached(epoch, curves["validation_loss"][-1], net):
                    break
        best.restore(net)
        return curves


# What it is given --------------------------------------------------------------------------------


def _series(snapshot: Snapshot) -> tuple[TensorSpec, TensorSpec]:
    """The columns of time and value."""
    specs = snapshot.input_specs()
    times = [spec for spec in specs if spec.dtype in TIMES and not spec.shape]
    values = [spec for spec in specs if spec.dtype == "float32" and not spec.shape]
    named = f"snapshot {snapshot.name}"
    if (len(specs), len(times), len(values)) != (2, 1, 1):
        raise DataError(
            named,
            "must have a time and a value per row, datetime64[s] or int64 and float32,"
            " for forecaster",
            got=", ".join(f"{s.name} {s.dtype}{list(s.shape)}" for s in specs) or "no input",
        )
    if snapshot.answer.kind.partition(".")[0] != "series":
        raise DataError(named, "must have a series to answer", got=snapshot.answer.kind)
    check_split(snapshot)
    return times[0], values[0]


def _check_start(start: Model, snapshot: Snapshot, window: Window) -> None:
    """Raise unless the model to start from sees and answers the same."""
    check_format(start, "torch")
    wanted = (snapshot.input_specs(), snapshot.answer, _program(window))
    if (start.inputs, start.answer, start.program) != wanted:
        raise ModelError(
            "model to start from",
            f"must have the inputs, the answer and the window of snapshot {snapshot.name}",
            got=f"answer {dict(start.answer.params)}, program {[dict(s) for s in start.program]}",
        )


# How the network is made ------------------------------------------------------------------------


def _network(shape: Mapping[str, Json]) -> torch.nn.Module:
    """The untrained network of an architecture. Its class lives here so that torch loads late."""
    import torch
    from torch import nn

    places = [shape["window"] - shape["season"] + horizon - 1 for horizon in shape["horizons"]]
    phases = 2 * len(HARMONICS) * len(shape["periods"])

    class Network(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
        """``quantiles`` in units of the window; ``forward`` gives the answer."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("adjust", torch.zeros(len(places)))
            self.body = nn.Sequential(
                nn.Linear(shape["window"] + phases, shape["width"]),
                nn.ReLU(),
                nn.Dropout(DROPOUT),
                nn.Linear(shape["width"], shape["width"]),
                nn.ReLU(),
            )
            self.head = nn.Linear(shape["width"], 3 * len(places))

        def units(self, history: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """Mean and deviation in which the window is told, float32[n, 1] each."""
            mean = history.mean(dim=1, keepdim=True)
            centred = history - mean
            deviation = torch.sqrt((centred * centred).mean(dim=1, keepdim=True) + 1e-6)
            if shape["fixed"] is None:
                return mean, deviation
            return torch.full_like(mean, shape["fixed"][0]), torch.full_like(
                mean, max(shape["fixed"][1], 1e-3)
            )

        def quantiles(self, time: torch.Tensor, history: torch.Tensor) -> tuple[torch.Tensor, ...]:
            """Median, and how far low and high lie from it, in units of the window."""
            mean, deviation = self.units(history)
            told = (history - mean) / deviation
            found = self.head(self.body(torch.cat([told, *self.phases(time)], dim=1)))
            middle, below, above = torch.chunk(found, 3, dim=1)
            softly = nn.functional.softplus
            return told[:, places] + middle, softly(below), softly(above)

        def phases(self, time: torch.Tensor) -> list[torch.Tensor]:
            angles = [
                torch.remainder(time, period).to(torch.float32) * (2 * math.pi * times / period)
                for period in shape["periods"]
                for times in HARMONICS
            ]
            return [f(angle).unsqueeze(1) for angle in angles for f in (torch.sin, torch.cos)]

        def forward(self, time: torch.Tensor, history: torch.Tensor) -> tuple[torch.Tensor, ...]:
            empty = torch.isnan(history).any(dim=1, keepdim=True)
            seen = torch.where(empty, torch.zeros_like(history), history)
            mean, deviation = self.units(seen)
            middle, below, above = self.quantiles(time, seen)
            below, above = torch.relu(below + self.adjust), torch.relu(above + self.adjust)
            units = (middle, middle - below, middle + above)
            answers = tuple(mean + deviation * one for one in units)
            least, most = shape["limits"]
            if (least, most) != (None, None):
                answers = tuple(torch.clamp(one, least, most) for one in answers)
            none = torch.full_like(middle, math.nan)
            return tuple(torch.where(empty, none, one) for one in answers)

    net = Network()
    net.level = shape["level"]
    return net


def _adjust(net: torch.nn.Module, rows: Examples, level: float) -> None:
    """Widen (or narrow) each horizon's interval until it holds the share ``level`` of ``rows``."""
    import torch

    times, history, truth = rows.tensors()
    net.eval()
    with torch.inference_mode():
        mean, deviation = net.units(history)
        middle, below, above = net.quantiles(times, history)
        away = (truth - mean) / deviation - middle
        beyond, _ = torch.sort(torch.maximum(-away - below, away - above), dim=0)
    rank = min(len(beyond), math.ceil((len(beyond) + 1) * level)) - 1
    net.adjust = beyond[rank].clone()


# How it learns ----------------------------------------------------------------------------------


def _pinball(net: Any, rows: Examples) -> torch.Tensor:
    """Mean quantile loss of low, median and high, in units of the window."""
    import torch

    times, history, truth = rows.tensors()
    mean, deviation = net.units(history)
    middle, below, above = net.quantiles(times, history)
    away = (truth - mean) / deviation - middle
    tail = (1 - net.level) / 2
    shares = ((tail, away + below), (0.5, away), (1 - tail, away - above))
    losses = [torch.maximum(share * gap, (share - 1) * gap).mean() for share, gap in shares]
    return sum(losses[1:], losses[0])


def _judged(net: Any, rows: Examples) -> float:
    """Loss on rows that it does not learn from."""
    import torch

    net.eval()
    with torch.inference_mode():
        return float(_pinball(net, rows))


def _program(window: Window) -> tuple[Mapping[str, Json], ...]:
    told = TypeAdapter(Window).dump_python(window, mode="json")
    return ({"step": "window", **told}, {"step": "graph"})
