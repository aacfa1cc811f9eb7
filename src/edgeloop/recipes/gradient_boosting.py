"""Train boosted trees on columns of numbers and texts, some of them missing.

LightGBM: Ke et al., NeurIPS 2017. A text's code is the share of the second class among the training
rows that have it, drawn towards the share of all the less rows there are (Micci-Barreca, ACM SIGKDD
Explorations 3(1), 2001).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass as value
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.errors import DataError, ModelError
from edgeloop.plugins import register
from edgeloop.recipes.before_training import check_format, check_split
from edgeloop.recipes.tracked import tracked
from edgeloop.runtimes.encoding import Column, Encoding, load
from edgeloop.runtimes.lightgbm import NAME, booster, library
from edgeloop.types import Model

if TYPE_CHECKING:
    from edgeloop.plugins import Context, Run
    from edgeloop.types import Array, Snapshot, TensorSpec

logger = logging.getLogger(__name__)

KINDS = ("float", "int", "uint", "bool")  # of numbers, as their dtype begins
DECIMALS = 8  # of a curve's values
EVERY = 10  # trees between two that the tracker is told of: it writes to disk each time


@register("recipe", "gradient_boosting.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GradientBoosting:
    """Columns in (a number or a text each), ``probabilities`` float32[n, 2] and ``label`` out.

    ``trees`` of ``leaves`` each at the most; training stops earlier when the validation loss has
    not improved for ``patience`` trees, and keeps the best. ``ignore`` names columns that the model
    is given and no tree may look at: a protected attribute, or one that will not be known in the
    field.

    Texts: codes are learnt on the part ``train``; ``smoothing`` is how many rows of the average
    count for in each. A text that was never seen has the average's code. A missing text or number
    goes where missing ones fared best in training; where none were missing, a text has the code of
    the average too, and a number counts as 0.

    Classes of unlike size: a row of the second class weighs w = (rows of the first / of the second)
    to the power of ``balance``: 0 leaves things as they are, 1 makes both classes weigh the same.
    Probabilities are those of the weighed world, so that the label is the more probable class; in
    the real one p is p / (p + w (1 - p)), w being ``positive_weight`` in the notes.

    With a model to start from, up to ``tune_trees`` trees are added to its own. Its codes stay, and
    texts that it did not know get one; rows of the populations other than the first weigh the share
    ``tune_new`` of all, however few they are.
    """

    trees: Annotated[int, Field(ge=1, le=10_000)] = 400
    leaves: Annotated[int, Field(ge=2, le=4096)] = 15
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    leaf_rows: Annotated[int, Field(ge=1)] = 20
    l2: Annotated[float, Field(ge=0)] = 1.0
    column_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    row_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    patience: Annotated[int, Field(ge=1)] = 30
    balance: Annotated[float, Field(ge=0, le=1)] = 1.0
    smoothing: Annotated[float, Field(gt=0)] = 20.0
    ignore: tuple[str, ...] = ()
    tune_trees: Annotated[int, Field(ge=1, le=10_000)] = 60
    tune_new: Annotated[float, Field(gt=0, lt=1)] = 0.3

    libraries: ClassVar[tuple[str, ...]] = ("lightgbm", "numpy")
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "start")

    def build(self, snapshot: Snapshot, context: Context) -> Model:
        """Train on the part ``train``, stop by the part ``validation``.

        The same snapshot and seed give the same trees.

        Raises:
            DataError: a column is neither numbers nor texts, ``ignore`` names none, the answer is
                not one of two classes, both do not occur, or the snapshot is not split.
            MissingExtraError: LightGBM is not installed.
            ModelError: ``context.start`` is no such model, or has other inputs or classes.
        """
        looked_at, started = _columns(snapshot, self.ignore), time.monotonic()
        before = _started(context.start, snapshot, looked_at)
        encoding = _learnt(snapshot, looked_at, self.smoothing, before)
        rows = _weighed(snapshot, self.balance, self.tune_new if before else None)
        curves: dict[str, list[float]] = {"train_loss": [], "validation_loss": []}
        with tracked(context, self) as run:
            report = _recorder(curves, run, context, self.tune_trees if before else self.trees)
            trees = self._train(snapshot, encoding, rows, context, report)
        model = _saved(trees, encoding, curves, rows.positive_weight, snapshot, context)
        logger.info(
            "recipe.done name=gradient_boosting.v1 trees=%d validation_loss=%.4f seconds=%.1f",
            model.notes["trees"],
            min(curves["validation_loss"]),
            time.monotonic() - started,
        )
        return model

    def _train(
        self,
        snapshot: Snapshot,
        encoding: Encoding,
        rows: _Weighed,
        context: Context,
        report: Callable[[Any], None],
    ) -> Any:
        lightgbm = library()
        parts = {
            part: lightgbm.Dataset(
                encoding.table(snapshot.feed(part)), rows.labels[part], weight=rows.weights[part]
            )
            for part in ("train", "validation")
        }
        return lightgbm.train(
            self._parameters(context),
            parts["train"],
            num_boost_round=self.trees if context.start is None else self.tune_trees,
            valid_sets=list(parts.values()),
            valid_names=list(parts),
            init_model=None if context.start is None else booster(context.start, encoding),
            callbacks=[report, lightgbm.early_stopping(self.patience, verbose=False)],
        )

    def _parameters(self, context: Context) -> dict[str, Any]:
        """In LightGBM's words; rows first and so many threads, so that sums have one order."""
        return {
            "objective": "binary",
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.leaf_rows,
            "lambda_l2": self.l2,
            "feature_fraction": self.column_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "seed": context.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": context.budget.threads,
            "verbosity": -1,
        }


# What goes in ------------------------------------------------------------------------------------


def _columns(snapshot: Snapshot, ignore: tuple[str, ...]) -> tuple[TensorSpec, ...]:
    """The columns that trees may look at."""
    named, specs = f"snapshot {snapshot.name}", snapshot.input_specs()
    classes = snapshot.answer.params.get("classes", ())
    if snapshot.answer.kind.partition(".")[0] != "label" or len(classes) != 2:
        rule = "must have labels of two classes for gradient_boosting"
        raise DataError(named, rule, got=f"{snapshot.answer.kind} of {len(classes)}")
    strange = [s for s in specs if s.shape or not (s.dtype == "str" or s.dtype.startswith(KINDS))]
    if strange:
        got = ", ".join(f"{s.name} {s.dtype}{list(s.shape)}" for s in strange)
        rule = "must have one number or text per row in each column for gradient_boosting"
        raise DataError(named, rule, got=got)
    unknown = sorted(set(ignore) - set(snapshot.inputs))
    if unknown or len(ignore) == len(specs):
        raise DataError(
            "gradient_boosting.ignore",
            f"must name columns of snapshot {snapshot.name}, and not all of them",
            got=", ".join(unknown or ignore),
            todo=f"Columns: {', '.join(snapshot.inputs)}",
        )
    check_split(snapshot)
    return tuple(spec for spec in specs if spec.name not in ignore)


def _started(
    start: Model | None, snapshot: Snapshot, specs: tuple[TensorSpec, ...]
) -> Encoding | None:
    """The encoding of the model to start from, which answers the same question; None without."""
    if start is None:
        return None
    check_format(start, "lightgbm")
    mine = (start.inputs, list(start.answer.params["classes"]))
    if mine != (snapshot.input_specs(), list(snapshot.answer.params["classes"])):
        raise ModelError(
            "model to start from",
            f"must have the inputs and the classes of snapshot {snapshot.name}",
            got=f"{len(mine[0])} inputs, classes {', '.join(mine[1])}",
        )
    encoding = load(start.files)
    if [column.name for column in encoding.columns] != [spec.name for spec in specs]:
        raise ModelError(
            "model to start from",
            "must look at the columns that ignore leaves",
            got=", ".join(column.name for column in encoding.columns),
            todo="Train anew when ignore changes",
        )
    return encoding


def _learnt(
    snapshot: Snapshot, specs: tuple[TensorSpec, ...], smoothing: float, before: Encoding | None
) -> Encoding:
    """What each column becomes, learnt on the part ``train``; what was learnt before stays."""
    import numpy as np

    truth = snapshot.column(snapshot.target, "train").astype(np.float64)
    known = {column.name: column for column in before.columns} if before else {}
    average = float(np.float32(truth.mean()))

    def column(spec: TensorSpec) -> Column:
        if spec.dtype != "str":
            return Column(name=spec.name)
        values = snapshot.column(spec.name, "train").astype(str)
        texts, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        new = Column(name=spec.name, codes={}, unseen=average, gaps="" in texts.tolist())
        old = known.get(spec.name, new)
        sums = np.bincount(places, weights=truth) + smoothing * old.unseen
        single = (sums / (counts + smoothing)).astype(np.float32).tolist()
        codes = {text: code for text, code in zip(texts.tolist(), single, strict=True) if text}
        return replace(old, codes={**codes, **(old.codes or {})})

    return Encoding(columns=tuple(column(spec) for spec in specs))


@value(frozen=True, kw_only=True)
class _Weighed:
    """Labels and weights of the rows of each part, and what a row of the second class weighs."""

    labels: dict[str, Array]
    weights: dict[str, Array]  # float64[n]
    positive_weight: float


def _weighed(snapshot: Snapshot, balance: float, new: float | None) -> _Weighed:
    import numpy as np

    labels = {p: snapshot.column(snapshot.target, p) for p in ("train", "validation")}
    if any(len(np.unique(of)) < 2 for of in labels.values()):
        raise DataError(
            f"snapshot {snapshot.name}", "must have rows of both classes to train and to validate"
        )
    share = float(labels["train"].mean())
    weight = ((1 - share) / share) ** balance
    weights = {part: np.where(of == 1, weight, 1.0) for part, of in labels.items()}
    if new is not None:
        for part, ours in weights.items():
            _lift(ours, snapshot.column("profile", part) > 0, new)
    return _Weighed(labels=labels, weights=weights, positive_weight=weight)


def _lift(weights: Array, fresh: Array, share: float) -> None:
    """Make the rows where ``fresh`` weigh ``share`` of all, and all weigh what they did."""
    total, theirs = weights.sum(), weights[fresh].sum()
    if 0 < theirs < total:
        weights[fresh] *= share * total / theirs
        weights[~fresh] *= (1 - share) * total / (total - theirs)


# What comes out ----------------------------------------------------------------------------------


def _recorder(
    curves: dict[str, list[float]], run: Run | None, context: Context, most: int
) -> Callable[[Any], None]:
    """What LightGBM calls after each tree: curves and progress get to know it, the tracker some."""

    def record(told: Any) -> None:
        for part, _, loss, *_ in told.evaluation_result_list:
            curves[f"{part}_loss"].append(round(float(loss), DECIMALS))
        step = len(curves["train_loss"])
        if run is not None and step % EVERY == 1:
            run.metrics({name: curve[-1] for name, curve in curves.items()}, step - 1)
        context.progress("train", step, most)

    return record


def _saved(
    trees: Any,
    encoding: Encoding,
    curves: dict[str, list[float]],
    weight: float,
    snapshot: Snapshot,
    context: Context,
) -> Model:
    path = context.scratch / NAME
    path.write_text(trees.model_to_string(), "ascii")
    told = encoding.save(context.scratch)
    return Model(
        format="lightgbm",
        answer=snapshot.answer,
        inputs=snapshot.input_specs(),
        files={path.name: path, told.name: told},
        recipe="gradient_boosting.v1",
        notes={
            "trees": trees.current_iteration(),  # LightGBM has dropped those behind the best
            "positive_weight": round(weight, 6),
            "columns": [column.name for column in encoding.columns],
            "curves": curves,
            "fine_tuned": context.start is not None,
        },
    )
