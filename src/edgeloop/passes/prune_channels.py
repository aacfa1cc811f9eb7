"""Remove whole channels, so that the network is narrower: smaller and faster on any device.

No training. A channel matters by how much of what the next layers get varies with it, measured on
training rows (the one-channel case of the reconstruction error of He et al. 2017,
arXiv:1707.06168); its mean is no loss, because normalization is measured again afterwards (as in
Li et al. 2020, arXiv:2007.02491) and takes the mean up.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.errors import ModelError
from edgeloop.plugins import get, register

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Arrays, Json, Model, Snapshot

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
BATCH = 128


@register("pass", "prune_channels.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PruneChannels:
    """Remove the ``share`` (0 to 1) of each group's channels that matter least.

    Works on any torch model whose recipe notes its ``architecture`` as ``{"widths": {group:
    channels}, "axes": {tensor: [group or "" for each axis]}, ...}``: every tensor is cut along
    every axis that runs over a narrowed group, and the recipe builds the network again from the
    smaller ``widths``. What stays is rounded to a ``multiple`` of channels, at least one of them,
    because kernels work on so many at once: 28 channels were slower than 32. Groups named in
    ``spare`` stay whole. ``rows`` of the part ``train`` are what is measured on.
    """

    share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    multiple: Annotated[int, Field(ge=1)] = 8
    spare: tuple[str, ...] = ()
    rows: Annotated[int, Field(ge=2)] = 1024

    libraries: ClassVar[tuple[str, ...]] = ("torch", "numpy", "safetensors")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Model:
        """A model of the same recipe with fewer channels; ``model`` is untouched.

        Raises:
            ModelError: ``model`` is no torch model, or its recipe notes no ``architecture``.
        """
        from safetensors.numpy import load_file, save_file

        started = time.monotonic()
        shape = _architecture(model)
        rows = _tensors(context.data(), self.rows, context.seed)
        scores = _importance(_network(model), shape["axes"], rows)
        kept = {
            group: _best(scores[group], self._left(width))
            for group, width in shape["widths"].items()
            if group in scores and group not in self.spare
        }
        path = context.scratch / WEIGHTS
        save_file(_cut(load_file(str(model.files[WEIGHTS])), shape["axes"], kept), str(path))
        widths = shape["widths"] | {group: len(index) for group, index in kept.items()}
        notes = {**model.notes, "architecture": {**shape, "widths": widths}, "pruned": self.share}
        narrow = _settled(replace(model, files={WEIGHTS: path}, notes=notes), rows)
        logger.info(
            "pass.done name=prune_channels.v1 before=%s after=%s seconds=%.1f",
            model.notes.get("parameters"),
            narrow.notes["parameters"],
            time.monotonic() - started,
        )
        return narrow

    def _left(self, width: int) -> int:
        """How many of ``width`` channels stay."""
        steps = max(1, round(width * (1 - self.share) / self.multiple))
        return min(width, steps * self.multiple)


def _architecture(model: Model) -> dict[str, Json]:
    shape = model.notes.get("architecture", {})
    if model.format != "torch" or not {"widths", "axes"} <= set(shape):
        raise ModelError(
            "prune_channels",
            "must be given a torch model whose recipe notes widths and axes",
            got=f"format {model.format} of recipe {model.recipe or 'none'}",
            todo="Place it before export_onnx",
        )
    return dict(shape)


def _network(model: Model) -> torch.nn.Module:
    net: torch.nn.Module = get("recipe", model.recipe)().module(model)
    return net


def _tensors(snapshot: Snapshot, count: int, seed: int) -> list[torch.Tensor]:
    """``count`` drawn training rows, one tensor per input."""
    import numpy as np
    import torch

    feed = snapshot.feed("train")
    order = np.random.default_rng(seed).permutation(len(next(iter(feed.values()))))[:count]
    return [torch.from_numpy(values[order]) for values in feed.values()]


def _importance(
    net: torch.nn.Module, axes: Mapping[str, list[str]], rows: list[torch.Tensor]
) -> dict[str, Array]:
    """float64[channels] by group: over the layers that read it, the share of variance it brings.

    A layer reads group ``g`` when axis 1 of its weight (output, input, ...) runs over ``g``.
    """
    readers = {name: names[1] for name, names in axes.items() if len(names) > 1 and names[1]}
    scores: dict[str, Array] = {}
    for name, energy in _energies(net, list(readers), rows).items():
        share = energy / max(energy.sum(), 1e-30)
        scores[readers[name]] = scores.get(readers[name], 0) + share
    return scores


def _energies(
    net: torch.nn.Module, weights: list[str], rows: list[torch.Tensor]
) -> dict[str, Array]:
    """For each weight, float64[channels in]: variance of the input times squared weights."""
    import torch

    found: dict[str, Array] = {}

    def watch(name: str, layer: Any) -> Any:
        def hook(_: Any, given: tuple[torch.Tensor, ...]) -> None:
            by_channel = given[0].transpose(0, 1).flatten(1).double()
            squares = (layer.weight.double() ** 2).transpose(0, 1).flatten(1).sum(1)
            found[name] = (by_channel.var(dim=1) * squares).numpy()

        return layer.register_forward_pre_hook(hook)

    hooks = [watch(name, net.get_submodule(name.removesuffix(".weight"))) for name in weights]
    with torch.no_grad():
        net(*rows)
    for hook in hooks:
        hook.remove()
    return found


def _best(importance: Array, count: int) -> Array:
    """The ``count`` most important channels, in their old order; of equals the first."""
    import numpy as np

    return np.sort(np.argsort(-importance, kind="stable")[:count])


def _cut(
    tensors: Arrays, axes: Mapping[str, list[str]], kept: Mapping[str, Array]
) -> dict[str, Array]:
    """Every tensor with only the kept channels on each axis."""
    import numpy as np

    narrow = dict(tensors)
    for name, names in axes.items():
        for axis, group in enumerate(names):
            if group in kept:
                narrow[name] = np.take(narrow[name], kept[group], axis=axis)
    return {name: np.ascontiguousarray(values) for name, values in narrow.items()}


def _settled(model: Model, rows: list[torch.Tensor]) -> Model:
    """``model`` whose normalization was measured again, with its parameters counted."""
    from safetensors.torch import save_file

    net = _network(model)
    _measure_norms(net, rows)
    tensors = {name: part.contiguous() for name, part in sorted(net.state_dict().items())}
    save_file(tensors, str(model.files[WEIGHTS]))
    count = sum(part.numel() for part in net.parameters())
    return replace(model, notes={**model.notes, "parameters": count})


def _measure_norms(net: torch.nn.Module, rows: list[torch.Tensor]) -> None:
    """Set mean and variance of every batch normalization to their average over ``rows``."""
    import torch

    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # torch's word for a plain average over batches
            part.train()
    with torch.no_grad():
        for start in range(0, len(rows[0]), BATCH):
            net(*(column[start : start + BATCH] for column in rows))
    net.eval()
