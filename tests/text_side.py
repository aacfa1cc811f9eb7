"""A small world of texts for tests: a tokenizer of some words, and a BERT as small as can be."""

import hashlib
import json

import numpy as np
import pytest

from edgeloop.data.origins import File
from edgeloop.data.snapshot import write
from edgeloop.data.split import Stratified
from edgeloop.passes.export_onnx import ExportOnnx
from edgeloop.plugins import Context
from edgeloop.recipes.pretrained import PRETRAINED, Pretrained
from edgeloop.recipes.text_encoder import TextEncoder
from edgeloop.types import AnswerSpec, Model, Snapshot

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("win", "money", "now", "meet", "lunch", "report", "the", "a", "and", "you")
CONFIG = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
RECIPE = TextEncoder(
    base="tiny", length=12, layers=1, rank=2, epochs=8, batch=8, learning_rate=0.03, tune_epochs=2
)


def tokenizer(words: tuple[str, ...] = WORDS) -> bytes:
    """A tokenizer of whole words, as the library writes it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    known = {word: number for number, word in enumerate((*SPECIAL, *words))}
    made = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made.to_str().encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def weights() -> bytes:
    """Drawn weights of :data:`CONFIG`, with a pooler that nobody needs."""
    import torch
    from safetensors.torch import save

    from edgeloop.recipes.bert import OURS, Shape, network

    shape = Shape(**{name: CONFIG[name] for name in Shape.__dataclass_fields__})
    torch.manual_seed(3)
    net = network(shape, classes=2, rank=1, layers=1)
    state = {k: v for k, v in net.state_dict().items() if not k.startswith(OURS)}
    return save({**state, "pooler.dense.bias": torch.zeros(16)})


def letters(rows: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Letters of some words; those about winning money are spam."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, rows)
    topics = (WORDS[3:6], WORDS[:3])
    texts = [" ".join(draw.choice([*topics[label], *WORDS[6:]], 8)) for label in labels]
    return np.array(texts, dtype=object), labels.astype(np.int64)


def post(context: Context) -> Snapshot:
    """200 letters as a snapshot that is split."""
    texts, labels = letters(200)
    whole = write(
        name="post",
        inputs={"text": texts},
        target=("label", labels),
        answer=AnswerSpec(kind="label", params={"classes": ["ham", "spam"]}),
        scratch=context.scratch,
        provenance={},
    )
    return Stratified(test=0.25, validation=0.15).run(whole, context)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The pretrained weights ``tiny``, found in a cache of this test run."""
    folder = tmp_path_factory.mktemp("cache")
    files = {}
    contents = {
        "weights": weights(), "tokenizer": tokenizer(), "config": json.dumps(CONFIG).encode()
    }  # fmt: skip
    for part, content in contents.items():
        files[part] = File(name=f"tiny-{part}", sha256=sha256(content), packed=False)
        (folder / files[part].name).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGELOOP_CACHE", str(folder))
        made = Pretrained(**files, licence="CC0-1.0", citation="drawn", install="none")
        patch.setitem(PRETRAINED, "tiny", made)
        yield folder


@pytest.fixture(scope="session")
def mails(workplace) -> Snapshot:
    return post(workplace())


@pytest.fixture(scope="session")
def encoder(tiny, mails, workplace) -> Model:
    return RECIPE.build(mails, workplace(snapshot=mails))


@pytest.fixture(scope="session")
def encoder_graph(encoder, mails, workplace) -> Model:
    return ExportOnnx().run(encoder, workplace(snapshot=mails))
