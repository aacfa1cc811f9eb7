"""Fine-tune a pretrained encoder of texts with low-rank adapters, to name what a text is.

The pretrained weights stay as they were imported; what is learnt is a small file beside them, so
that an update of the model is that file. See :mod:`edgeloop.recipes.bert`.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass as value
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from edgeloop.errors import DataError, ModelError
from edgeloop.plugins import register
from edgeloop.recipes.before_training import check_split
from edgeloop.recipes.bert import Shape, learnt, load_into, network
from edgeloop.recipes.drawn import chances
from edgeloop.recipes.pretrained import PRETRAINED, Pretrained
from edgeloop.recipes.repeatable import repeatable
from edgeloop.recipes.tracked import Curves, tracked
from edgeloop.runtimes.program import prepared
from edgeloop.types import Model

if TYPE_CHECKING:
    import numpy as np
    import torch

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Json, Snapshot

logger = logging.getLogger(__name__)

BASE, ADAPTER, TOKENIZER = "base.safetensors", "adapter.safetensors", "tokenizer.json"
CURVES = ("train_loss", "validation_loss", "validation_accuracy")
AT_ONCE = 64  # rows that the frozen layers read at once


@register("recipe", "text_encoder.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TextEncoder:
    """One text per row in, ``probabilities`` float32[n, classes] and ``label`` int64[n] out.

    ``base`` names the pretrained weights, which never change. A text is read up to ``length``
    tokens and ``characters`` characters. The last ``layers`` layers get adapters of ``rank`` beside
    query and value; fewer layers learn less and are quicker, because what the layers below give is
    computed once (and held: 4 bytes x rows x length x the encoder's width). ``learning_rate`` falls
    in a line to nothing over ``epochs``.

    With a model to start from, its adapter is trained on for ``tune_epochs`` at
    ``tune_learning_rate``; of the rows that it sees, the share ``tune_new`` is drawn from the
    populations other than the first, however few those rows are. Base and graph stay the same.
    """

    base: str = "all-minilm-l6-v2"
    length: Annotated[int, Field(ge=4, le=512)] = 128
    characters: Annotated[int, Field(ge=1, le=100_000)] = 4000
    layers: Annotated[int, Field(ge=1, le=48)] = 2
    rank: Annotated[int, Field(ge=1, le=256)] = 8
    epochs: Annotated[int, Field(ge=1, le=1000)] = 3
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.003
    batch: Annotated[int, Field(ge=1, le=1024)] = 32
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    tune_epochs: Annotated[int, Field(ge=1, le=1000)] = 3
    tune_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    tune_new: Annotated[float, Field(gt=0, lt=1)] = 0.3

    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy", "safetensors", "tokenizers")
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "start")

    def build(self, snapshot: Snapshot, context: Context) -> Model:
        """Train an adapter on the part ``train``; the part ``validation`` is watched.

        The same snapshot, seed and thread count give the same adapter on the same machine.

        Raises:
            DataError: the snapshot has no texts as its only input, no classes, or is not split.
            DataSourceError: no origin has the pretrained weights.
            MissingExtraError: the library tokenizers is not installed.
            ModelError: there are no such pretrained weights, or ``context.start`` is no such model.
        """
        started = time.monotonic()
        _check(snapshot)
        untrained = self._begun(snapshot, context)
        with repeatable(context.seed, context.budget.threads):
            net = _filled(untrained, fresh=context.start is None)
            curves = self._train(net, untrained, snapshot, context)
        model = _saved(net, untrained, curves, context)
        logger.info(
            "recipe.done name=text_encoder.v1 validation_accuracy=%.4f bytes=%d seconds=%.1f",
            curves["validation_accuracy"][-1],
            model.files[ADAPTER].stat().st_size,
            time.monotonic() - started,
        )
        return model

    @staticmethod
    def module(model: Model) -> torch.nn.Module:
        """The network: ids and mask in, ``(probabilities, label)`` out, evaluation mode.

        Raises:
            ModelError: its weights are missing, broken, or do not fit its architecture.
        """
        return _filled(model, fresh=False)

    def _begun(self, snapshot: Snapshot, context: Context) -> Model:
        """The model before training: that of ``context.start``, or one without an adapter."""
        if context.start is not None:
            _check_start(context.start, snapshot, self._architecture(context.start))
            return context.start
        known = PRETRAINED.get(self.base)
        if known is None:
            raise ModelError(
                "text_encoder.base",
                f"must be one of {', '.join(sorted(PRETRAINED))}",
                got=self.base,
            )
        return self._imported(known, snapshot, context)

    def _imported(self, known: Pretrained, snapshot: Snapshot, context: Context) -> Model:
        """The pretrained files as they are, with the program that a text goes through."""
        read = known.read(self.base)
        shape = _shape(read[known.config.name])
        if self.length > shape.max_position_embeddings or self.layers > shape.num_hidden_layers:
            most = f"{shape.max_position_embeddings} tokens and {shape.num_hidden_layers} layers"
            raise ModelError(
                f"pretrained {self.base}",
                f"must have length and layers: it knows {most}",
                got=f"{self.length} and {self.layers}",
            )
        files = {BASE: context.scratch / BASE, TOKENIZER: context.scratch / TOKENIZER}
        files[BASE].write_bytes(read[known.weights.name])
        files[TOKENIZER].write_bytes(read[known.tokenizer.name])
        (text,) = snapshot.inputs
        tokenize = {
            "step": "tokenize",
            "input": text,
            "file": TOKENIZER,
            "sha256": hashlib.sha256(read[known.tokenizer.name]).hexdigest(),
            "vocabulary": shape.vocab_size,
            "length": self.length,
            "characters": self.characters,
        }
        beside = {"step": "constants", "file": ADAPTER}
        architecture = {
            "shape": TypeAdapter(Shape).dump_python(shape),
            "classes": len(snapshot.answer.params["classes"]),
            "rank": self.rank,
            "layers": self.layers,
        }
        return Model(
            format="torch",
            answer=snapshot.answer,
            inputs=snapshot.input_specs(),
            files=files,
            recipe="text_encoder.v1",
            notes={
                "architecture": architecture,
                "pretrained": {"name": self.base, **known.provenance()},
            },
            program=(tokenize, beside, {"step": "graph"}),
        )

    def _architecture(self, start: Model) -> tuple[Json, ...]:
        """What a fine-tune cannot change, as this recipe has it and as ``start`` has it."""
        tokenize = start.program[0] if start.program else {}
        theirs = start.notes.get("architecture", {})
        return (
            (self.base, self.length, self.characters, self.layers, self.rank),
            (
                start.notes.get("pretrained", {}).get("name"),
                tokenize.get("length"),
                tokenize.get("characters"),
                theirs.get("layers"),
                theirs.get("rank"),
            ),
        )

    def _train(self, net: Any, model: Model, snapshot: Snapshot, context: Context) -> Curves:
        import numpy as np

        tuning = context.start is not None
        epochs = self.tune_epochs if tuning else self.epochs
        rate = self.tune_learning_rate if tuning else self.learning_rate
        parts = {part: _Rows.of(net, model, snapshot, part) for part in ("train", "validation")}
        fresh = snapshot.column("profile", "train") > 0
        chance = chances(fresh, self.tune_new) if tuning else None
        steps = _Steps.of(net, rate, self.weight_decay, epochs * parts["train"].batches(self.batch))
        curves, generator = Curves(*CURVES), np.random.default_rng(context.seed)
        with tracked(context, self) as run:
            for epoch in range(epochs):
                order = parts["train"].order(generator, chance)
                loss = steps.epoch(parts["train"], order, self.batch)
                curves.add(loss, *steps.judge(parts["validation"]))
                curves.report(run, epoch)
                context.progress("train", epoch + 1, epochs)
        return curves


# What goes in -----------------------------------------------------------------------------------


def _check(snapshot: Snapshot) -> None:
    """Return when the snapshot has texts as its only input, classes, and parts."""
    specs, named = snapshot.input_specs(), f"snapshot {snapshot.name}"
    if len(specs) != 1 or (specs[0].dtype, specs[0].shape) != ("str", ()):
        got = ", ".join(f"{one.name} {one.dtype}{list(one.shape)}" for one in specs)
        raise DataError(named, "must have one text per row as its only input", got=got)
    if "classes" not in snapshot.answer.params:
        rule = "must have labels of classes to learn"
        raise DataError(named, rule, got=f"answer kind {snapshot.answer.kind}")
    check_split(snapshot)


def _check_start(start: Model, snapshot: Snapshot, architecture: tuple[Json, ...]) -> None:
    if start.format != "torch" or start.recipe != "text_encoder.v1":
        raise ModelError(
            "model to start from",
            "must be a torch model of the recipe text_encoder",
            got=f"{start.format} {start.recipe}".strip(),
            todo="Name the recipe's own model, not one that a pass exported",
        )
    theirs = (start.inputs, list(start.answer.params["classes"]))
    if theirs != (snapshot.input_specs(), list(snapshot.answer.params["classes"])):
        raise ModelError(
            "model to start from",
            f"must have the input and the classes of snapshot {snapshot.name}",
            got=f"input {theirs[0][0].name}, classes {', '.join(theirs[1])}",
        )
    ours, had = architecture
    if ours != had:
        raise ModelError(
            "model to start from",
            f"must have base, length, characters, layers and rank {list(ours)}",
            got=list(had),
            todo="Train anew when one of them changes: the graph is another",
        )


def _shape(config: bytes) -> Shape:
    try:
        shape: Shape = TypeAdapter(Shape).validate_json(config)
    except ValidationError as error:
        raise ModelError(
            "config.json of the pretrained weights", "must describe a BERT", got=error.errors()[0]
        ) from error
    return shape


def _filled(model: Model, *, fresh: bool) -> Any:
    """The network with the model's weights, evaluation mode; ``fresh`` has an untrained adapter."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    said = model.notes["architecture"]
    net = network(
        Shape(**said["shape"]), classes=said["classes"], rank=said["rank"], layers=said["layers"]
    )
    try:
        adapter = learnt(net) if fresh else load_file(str(model.files[ADAPTER]))
        load_into(net, load_file(str(model.files[BASE])), adapter)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"model files {BASE} and {ADAPTER}",
            "must hold the tensors of its architecture",
            got=str(error).splitlines()[0],
            todo="Build the model again; `edgeloop verify` tells which blobs are broken",
        ) from error
    return net.eval()


# How it learns ----------------------------------------------------------------------------------


@value(frozen=True, kw_only=True)
class _Rows:
    """One part of the data, as the layers that never learn see it."""

    hidden: Any  # float32[n, length, width]
    mask: Any  # int64[n, length]
    labels: Any  # int64[n]

    @classmethod
    def of(cls, net: Any, model: Model, snapshot: Snapshot, part: str) -> _Rows:
        import torch

        feed = prepared(model, snapshot.feed(part))
        ids, mask = (torch.from_numpy(feed[name]) for name in ("input_ids", "attention_mask"))
        if not len(ids):
            raise DataError(
                f"part {part} of snapshot {snapshot.name}", "must have rows", got="none"
            )
        with torch.inference_mode():
            pairs = zip(ids.split(AT_ONCE), mask.split(AT_ONCE), strict=True)
            hidden = torch.cat([net.below(*pair) for pair in pairs])
        labels = snapshot.column(snapshot.target, part).astype("int64")
        return cls(hidden=hidden.clone(), mask=mask, labels=torch.from_numpy(labels))

    def batches(self, size: int) -> int:
        return -(-len(self.labels) // size)

    def order(self, generator: np.random.Generator, chance: Array | None) -> Array:
        """The rows of one epoch: each once, or drawn by ``chance``."""
        count = len(self.labels)
        if chance is None:
            return generator.permutation(count)
        return generator.choice(count, count, p=chance)


@value(frozen=True, kw_only=True)
class _Steps:
    """The network with its optimizer: one epoch at a time."""

    net: Any
    optimizer: Any
    schedule: Any

    @classmethod
    def of(cls, net: Any, rate: float, decay: float, steps: int) -> _Steps:
        import torch

        optimizer = torch.optim.AdamW(net.adapter.parameters(), lr=rate, weight_decay=decay)
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
        return cls(net=net, optimizer=optimizer, schedule=falling)

    def epoch(self, rows: _Rows, order: Array, size: int) -> float:
        """Learn from each batch; the mean loss."""
        import torch

        losses = []
        for start in range(0, len(order), size):
            chosen = torch.from_numpy(order[start : start + size])
            logits = self.net.above(rows.hidden[chosen], rows.mask[chosen])
            loss = torch.nn.functional.cross_entropy(logits, rows.labels[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    def judge(self, rows: _Rows) -> tuple[float, float]:
        """Loss and accuracy (0 to 1) on rows that it does not learn from."""
        import torch

        with torch.inference_mode():
            pairs = zip(rows.hidden.split(AT_ONCE), rows.mask.split(AT_ONCE), strict=True)
            logits = torch.cat([self.net.above(*pair) for pair in pairs])
            loss = torch.nn.functional.cross_entropy(logits, rows.labels)
            return float(loss), float((logits.argmax(dim=1) == rows.labels).float().mean())


# What comes out ---------------------------------------------------------------------------------


def _saved(net: Any, model: Model, curves: Curves, context: Context) -> Model:
    """``model`` with the adapter that was learnt."""
    from safetensors.torch import save

    path = context.scratch / ADAPTER
    path.write_bytes(save(learnt(net)))
    return replace(
        model,
        files={**model.files, ADAPTER: path},
        notes={
            **model.notes,
            "parameters": sum(part.numel() for part in net.parameters()),
            "learnt": sum(part.numel() for part in net.adapter.parameters()),
            "curves": dict(curves),
            "fine_tuned": context.start is not None,
        },
    )
