"""Raise the price of a bit until the update of a network is small enough; what may move at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from edgeloop.recipes.near_start import NearStart, update_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from edgeloop.types import Json

Moving: TypeAlias = Literal["sparse", "last_layer", "norms"]
RUNGS = 12


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """``bit_price`` is the first price; ``limit`` is in bytes, None asks for the first price."""

    bit_price: float
    stride: int
    limit: int | None

    def climbed(
        self,
        net: Any,
        start: Mapping[str, torch.Tensor],
        learn: Callable[[NearStart], float],
    ) -> list[dict[str, Json]]:
        """Each price that was tried, with about the bytes of its update and what it learned.

        ``net`` goes on from price to price; the first that is small enough is the last.
        """
        rungs: list[dict[str, Json]] = []
        for number in range(RUNGS):
            price = self.bit_price * 2**number
            accuracy = learn(NearStart(net, start, stride=self.stride, bit_price=price))
            size = update_bytes(start, net)
            rungs.append({"bit_price": price, "bytes": size, "validation_accuracy": accuracy})
            if self.limit is None or size <= self.limit:
                break
        return rungs


def freeze(net: Any, moving: Moving) -> None:
    """Let only what ``moving`` names learn."""
    if moving == "sparse":
        return
    tensors = list(net.named_parameters())
    last = [name for name, part in tensors if part.dim() > 1][-1].rpartition(".")[0]
    for name, part in tensors:
        free = part.dim() < 2 if moving == "norms" else name.rpartition(".")[0] == last
        part.requires_grad_(free)
