"""Hold a network near the one that it started from, so that an update of its levels is small.

Weights move in whole strides of quantization steps, and each move costs the loss what its bits do:
proximal steps in Adam's own metric, so that a weight which matters little goes back first. What a
move costs follows from how much its row and its column move, as the delta codec codes it. Between
steps the network holds the rounded weights, whose gradient the real ones learn from (Bengio et al.
2013, arXiv:1308.3432). Biases and norms are free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

LEVELS = 64  # on each side of zero, as `quantize` has them
PRICED = 50  # steps between two looks at how much rows and columns move
SIGN = 3.0  # bits that say where a moved weight went
RAREST, MOST = 1e-5, 0.5  # of the share of weights that move, where a price is made of it
TINY = 1e-6  # of a gradient's size, below which it is none


@dataclass(kw_only=True)
class Held:
    """One tensor: real weights, as rows; where they started; a row's step; the bits of a move."""

    weights: torch.Tensor  # the network's own parameter
    start: torch.Tensor  # float32[rows, columns]
    step: torch.Tensor  # float32[rows, 1]
    stride: int
    real: torch.Tensor
    bits: Any = SIGN
    may_move: torch.Tensor | None = None  # once it is settled; None before

    @classmethod
    def of(cls, weights: torch.Tensor, start: torch.Tensor, stride: int) -> Held:
        """``weights`` of a network that started from ``start``, a tensor of the same shape."""
        rows = start.reshape(len(start), -1)
        step = (rows.abs().amax(dim=1, keepdim=True) / LEVELS).clamp(min=1e-12)
        real = weights.detach().reshape(rows.shape).clone()
        return cls(weights=weights, start=rows, step=step, stride=stride, real=real)

    def moves(self) -> torch.Tensor:
        """How many strides each weight is from its start, float32[rows, columns]."""
        moved: torch.Tensor = ((self.real - self.start) / (self.step * self.stride)).round()
        return moved

    def rounded(self) -> torch.Tensor:
        """The weights as they will be released, within the levels there are."""
        moved = self.start + self.moves() * self.step * self.stride
        most = LEVELS * self.step
        inside: torch.Tensor = moved.clamp(-most, most)
        return inside.where(self.moves() != 0, self.start)

    def price(self) -> None:
        """Look again at what a move costs, by row and column."""
        moved = self.moves().abs().clamp(max=1)
        mean = moved.mean() + 1e-4
        rows = (moved.mean(dim=1, keepdim=True) + mean / 10) / (1.1 * mean)
        columns = (moved.mean(dim=0, keepdim=True) + mean / 10) / (1.1 * mean)
        share = (mean * rows * columns).clamp(RAREST, MOST)
        self.bits = ((1 - share) / share).log2() + SIGN

    def settle(self) -> None:
        """Let no weight move that has not."""
        self.may_move = self.moves() != 0

    def pull(self, size: torch.Tensor, rate: float) -> None:
        """Back by ``rate`` for each bit, further where the gradient's ``size`` is small."""
        back = rate * self.bits / (self.step * self.stride * size.reshape(self.real.shape))
        moved = self.real - self.start
        self.real = self.start + moved.sign() * (moved.abs() - back).clamp(min=0)


class NearStart:
    """The weights of ``net`` that have a step: its tensors of two or more axes."""

    def __init__(
        self, net: Any, start: Mapping[str, torch.Tensor], *, stride: int, bit_price: float
    ) -> None:
        self._bit_price, self._steps = bit_price, 0
        self.held = {
            name: Held.of(part, start[name].detach().clone(), stride)
            for name, part in net.named_parameters()
            if part.dim() > 1
        }
        self._show("rounded")

    def before_step(self) -> None:
        """The real weights, for the optimizer to move."""
        self._show("real")

    def after_step(self, optimizer: Any) -> None:
        """Pull back what moved for little, and show the rounded weights again."""
        import torch

        self._steps += 1
        with torch.no_grad():
            for one in self.held.values():
                one.real = one.weights.detach().reshape(one.real.shape).clone()
                if one.may_move is not None:
                    one.real = one.real.where(one.may_move, one.start)
                    continue
                if self._steps % PRICED == 1:
                    one.price()
                if one.weights in optimizer.state:
                    rate = self._bit_price * optimizer.param_groups[0]["lr"]
                    one.pull(_size(optimizer, one.weights), rate)
        self._show("rounded")

    def settle(self) -> None:
        """From now on nothing is pulled, and what has not moved stays: the others find their best.

        A pull shortens every move, those too that are worth their bits.
        """
        for one in self.held.values():
            one.settle()

    def _show(self, which: str) -> None:
        import torch

        with torch.no_grad():
            for one in self.held.values():
                values = one.real if which == "real" else one.rounded()
                one.weights.copy_(values.reshape(one.weights.shape))


def _size(optimizer: Any, weights: torch.Tensor) -> torch.Tensor:
    """How large the gradient of each weight usually is, as Adam knows it."""
    state = optimizer.state[weights]
    seen = 1 - optimizer.param_groups[0]["betas"][1] ** float(state["step"])
    size: torch.Tensor = (state["exp_avg_sq"] / seen).sqrt() + TINY
    return size


def update_bytes(start: Mapping[str, torch.Tensor], net: Any) -> int:
    """About what a delta takes between the int8 forms of ``net`` and of where it started.

    Of the parameters: what a normalization has seen goes into its scales when it is exported.
    """
    from edgeloop.delta.create import create_bytes

    now = dict(net.named_parameters())
    before = {name: start[name] for name in now}
    old, new = (_levels(start, tensors) for tensors in (before, now))
    return len(create_bytes([old], [new]).data)


def _levels(start: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> bytes:
    """A file of ``tensors``: levels of steps as ``start`` has them, float32 where one has none."""
    from safetensors.torch import save

    content: bytes = save(dict(_as_levels(start, tensors)))
    return content


def _as_levels(
    start: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    for name, values in sorted(tensors.items()):
        if values.dim() < 2:
            yield name, values.detach().contiguous()
            continue
        rows = start[name].reshape(len(values), -1)
        step = (rows.abs().amax(dim=1, keepdim=True) / LEVELS).clamp(min=1e-12)
        exact = values.detach().reshape(rows.shape) / step
        yield name, exact.round().clamp(-LEVELS, LEVELS).to(torch.int8).contiguous()
