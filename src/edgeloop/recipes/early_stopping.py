"""Stop a training that no longer gets better, and go back to the weights of its best epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class Best:
    """The weights of the epoch with the lowest validation loss, up to ``patience`` epochs back."""

    patience: int
    loss: float = float("inf")
    epoch: int = 0
    weights: dict[str, Any] = field(default_factory=dict)

    def reached(self, epoch: int, loss: float, net: torch.nn.Module) -> bool:
        """Whether ``net`` behind ``epoch`` is where to stop; it is kept when it is the best yet."""
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch
            self.weights = {name: part.clone() for name, part in net.state_dict().items()}
        return epoch - self.epoch >= self.patience

    def restore(self, net: torch.nn.Module) -> None:
        """Give ``net`` the best weights."""
        if self.weights:  # empty when every loss was NaN; the last weights then stand
            net.load_state_dict(self.weights)
