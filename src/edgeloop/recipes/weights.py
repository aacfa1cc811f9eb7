"""A trained network as a model: its weights written to the model's file, and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.errors import ModelError
from edgeloop.types import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    from edgeloop.plugins import Context
    from edgeloop.types import Json, Snapshot

WEIGHTS = "weights.safetensors"


def saved(net: torch.nn.Module, folder: Path) -> Path:
    """The file in ``folder`` with all tensors of ``net``; the same tensors give the same bytes."""
    from safetensors.torch import save

    path = folder / WEIGHTS
    path.write_bytes(save({k: v.contiguous() for k, v in sorted(net.state_dict().items())}))
    return path


def trained(
    net: torch.nn.Module,
    recipe: str,
    architecture: Mapping[str, Json],
    curves: Mapping[str, list[float]],
    snapshot: Snapshot,
    context: Context,
    program: tuple[Mapping[str, Json], ...] = (),
) -> Model:
    """The model of a network that ``recipe`` trained on ``snapshot``; ``curves`` are per epoch."""
    path = saved(net, context.scratch)
    return Model(
        format="torch",
        answer=snapshot.answer,
        inputs=snapshot.input_specs(),
        files={path.name: path},
        recipe=recipe,
        notes={
            "architecture": architecture,
            "parameters": sum(part.numel() for part in net.parameters()),
            "curves": dict(curves),
            "epochs_run": len(next(iter(curves.values()))),
            "fine_tuned": context.start is not None,
        },
        program=program,
    )


def loaded(network: Callable[[dict[str, Json]], torch.nn.Module], model: Model) -> torch.nn.Module:
    """What ``network`` makes of the model's noted architecture, with its weights; evaluation mode.

    Raises:
        ModelError: the weights are missing, broken, or do not fit the architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        net = network(model.notes["architecture"])
        net.load_state_dict(load_file(str(model.files.get(WEIGHTS))))
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"model file {WEIGHTS}",
            "must hold the tensors of its architecture",
            got=str(error).splitlines()[0],
            todo="Build the model again; `edgeloop verify` tells which blobs are broken",
        ) from error
    return net.eval()
