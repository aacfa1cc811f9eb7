"""Learn by AdamW along one cycle of the learning rate (Smith and Topin 2018, arXiv:1708.07120)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeloop.recipes.near_start import NearStart


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """A network with its optimizer: one epoch at a time."""

    net: Any
    optimizer: Any
    schedule: Any

    @classmethod
    def of(cls, net: Any, *, rate: float, decay: float, steps: int) -> OneCycle:
        """``rate`` is the peak, after 0.3 of all ``steps``; ``decay`` is the weights'."""
        import torch

        optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=rate, total_steps=steps, pct_start=0.3
        )
        return cls(net=net, optimizer=optimizer, schedule=cycle)

    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def epoch(self, losses: Iterator[Any], near: NearStart | None = None) -> float:
        """Learn from the loss of each batch, taken when the batch before was learnt; their mean.

        ``near`` holds the network near its start, step by step.
        """
        self.net.train()
        seen = []
        for loss in losses:
            self.optimizer.zero_grad()
            loss.backward()
            if near is not None:
                near.before_step()
            self.optimizer.step()
            if near is not None:
                near.after_step(self.optimizer)
            self.schedule.step()
            seen.append(float(loss.detach()))
        return sum(seen) / len(seen)
