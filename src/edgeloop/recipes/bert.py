"""BERT's encoder with frozen weights, low-rank layers beside them, and a linear head.

BERT: Devlin et al. 2018, arXiv:1810.04805. Low-rank adaptation: Hu et al. 2021, arXiv:2106.09685.
Mean of the words as a sentence's vector: Reimers and Gurevych 2019, arXiv:1908.10084.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    import torch

HIDDEN_BY = -1e4  # added to the score of a token that is only filling
ADAPTED = ("query", "value")  # of each adapted layer, as Hu et al. chose
OURS = "adapter."  # how the names of the tensors that are learnt begin


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a BERT's ``config.json`` its network needs."""

    vocab_size: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    max_position_embeddings: int = Field(ge=2)
    type_vocab_size: int = Field(ge=1)
    layer_norm_eps: float = Field(gt=0)


def network(shape: Shape, *, classes: int, rank: int, layers: int) -> torch.nn.Module:
    """The network without its weights; its tensors have the names of Hugging Face's files.

    The last ``layers`` layers get low-rank layers of ``rank`` beside query and value, which begin
    as nothing. ``forward(ids, mask)``, int64[n, length] each, gives probabilities and label.
    """
    import torch
    from torch import nn

    size, first = shape.hidden_size, shape.num_hidden_layers - layers

    class Encoder(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
        """``below`` is what never learns, ``above`` what does."""

        def __init__(self) -> None:
            super().__init__()
            self.embeddings = _embeddings(shape)
            every = (_layer(shape) for _ in range(shape.num_hidden_layers))
            self.encoder = nn.ModuleDict({"layer": nn.ModuleList(every)})
            self.requires_grad_(requires_grad=False)
            self.adapter = nn.ParameterDict(
                {
                    name: nn.Parameter(tensor)
                    for number in range(first, shape.num_hidden_layers)
                    for name, tensor in _low_rank(number, size, rank)
                }
            )
            self.adapter["head_weight"] = nn.Parameter(torch.randn(size, classes) / size**0.5)
            self.adapter["head_bias"] = nn.Parameter(torch.zeros(classes))

        def below(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """float32[n, length, size]: behind the layers without an adapter."""
            parts = self.embeddings
            x = parts["word_embeddings"](ids) + parts["token_type_embeddings"].weight[0]
            x = parts["LayerNorm"](x + parts["position_embeddings"].weight[: ids.shape[1]])
            for number in range(first):
                x = self._through(number, x, mask)
            return x

        def above(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """float32[n, classes]: logits of what ``below`` gave."""
            for number in range(first, shape.num_hidden_layers):
                x = self._through(number, x, mask)
            words = mask.to(x.dtype).unsqueeze(2)
            mean = (x * words).sum(dim=1) / words.sum(dim=1)
            found: torch.Tensor = mean @ self.adapter["head_weight"] + self.adapter["head_bias"]
            return found

        def forward(
            self, ids: torch.Tensor, mask: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            probabilities = torch.softmax(self.above(self.below(ids, mask), mask), dim=1)
            return probabilities, probabilities.argmax(dim=1)

        def _through(self, number: int, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """One layer: attention, then two linear layers, each added to what came in."""
            layer = self.encoder["layer"][number]
            own, after = layer["attention"]["self"], layer["attention"]["output"]
            query, key, value = (
                _heads(own[name](x) + self._beside(number, name, x), shape.num_attention_heads)
                for name in ("query", "key", "value")
            )
            scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
            unseen = (1 - mask.to(x.dtype))[:, None, None, :] * HIDDEN_BY
            mixed = (torch.softmax(scores + unseen, dim=3) @ value).transpose(1, 2).flatten(2)
            x = after["LayerNorm"](after["dense"](mixed) + x)
            inner = nn.functional.gelu(layer["intermediate"]["dense"](x))
            made: torch.Tensor = layer["output"]["LayerNorm"](layer["output"]["dense"](inner) + x)
            return made

        def _beside(self, number: int, name: str, x: torch.Tensor) -> torch.Tensor | float:
            """What the adapter adds to a linear layer's answer."""
            if number < first or name not in ADAPTED:
                return 0.0
            down, up = (self.adapter[f"{name}_{number}_{side}"] for side in ("down", "up"))
            return x @ down @ up

    return Encoder()


def learnt(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that training changes, by name: the adapter."""
    state = net.state_dict()
    return {name: state[name].contiguous() for name in sorted(state) if name.startswith(OURS)}


def load_into(net: torch.nn.Module, base: Mapping[str, Any], adapter: Mapping[str, Any]) -> None:
    """Fill ``net``; what it has no place for in ``base`` (a pooler) is left out.

    Raises:
        RuntimeError: a tensor is missing, has another shape, or the adapter has one too many.
    """
    wanted = net.state_dict()
    frozen = {name: base[name] for name in wanted if name in base and not name.startswith(OURS)}
    net.load_state_dict({**frozen, **adapter})


def _embeddings(shape: Shape) -> torch.nn.ModuleDict:
    from torch import nn

    size = shape.hidden_size
    return nn.ModuleDict(
        {
            "word_embeddings": nn.Embedding(shape.vocab_size, size),
            "position_embeddings": nn.Embedding(shape.max_position_embeddings, size),
            "token_type_embeddings": nn.Embedding(shape.type_vocab_size, size),
            "LayerNorm": nn.LayerNorm(size, shape.layer_norm_eps),
        }
    )


def _layer(shape: Shape) -> torch.nn.ModuleDict:
    from torch import nn

    size, inner = shape.hidden_size, shape.intermediate_size

    def closing(width: int) -> nn.ModuleDict:
        norm = nn.LayerNorm(size, shape.layer_norm_eps)
        return nn.ModuleDict({"dense": nn.Linear(width, size), "LayerNorm": norm})

    own = nn.ModuleDict({name: nn.Linear(size, size) for name in ("query", "key", "value")})
    return nn.ModuleDict(
        {
            "attention": nn.ModuleDict({"self": own, "output": closing(size)}),
            "intermediate": nn.ModuleDict({"dense": nn.Linear(size, inner)}),
            "output": closing(inner),
        }
    )


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[n, length, size] as [n, heads, length, size of a head]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _low_rank(number: int, size: int, rank: int) -> list[tuple[str, torch.Tensor]]:
    """Two tensors beside each adapted linear layer; their product begins as 0."""
    import torch

    pairs = []
    for name in ADAPTED:
        pairs.append((f"{name}_{number}_down", torch.randn(size, rank) / size**0.5))
        pairs.append((f"{name}_{number}_up", torch.zeros(rank, size)))
    return pairs
