"""What is learnt of texts is a small file; all that is large stays as it was imported."""

import dataclasses
import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgeloop.data.snapshot import with_column
from edgeloop.errors import DataError, ModelError
from edgeloop.passes.export_onnx import ExportOnnx
from edgeloop.recipes.bert import Shape, learnt, load_into, network
from edgeloop.recipes.pretrained import PRETRAINED
from text_side import CONFIG, RECIPE, letters

BASE = "all-minilm-l6-v2"
HIDDEN = CONFIG["hidden_size"]


def digests(model, *names) -> list[str]:
    return [hashlib.sha256(model.files[name].read_bytes()).hexdigest() for name in names]


def refused(workplace, snapshot, start, recipe=RECIPE) -> str:
    with pytest.raises(ModelError) as caught:
        recipe.build(snapshot, workplace(snapshot=snapshot, start=start))
    return str(caught.value)


@pytest.fixture(scope="module")
def tuned(encoder, mails, workplace):
    """The encoder trained on, a third of the rows being from the field."""
    fields = dataclasses.replace(mails, profiles=("clean", "field:south"))
    profile = (np.arange(mails.rows) % 3 == 0).astype(np.uint8)
    context = workplace()
    mixed = with_column(fields, "profile", profile, context.scratch)
    return RECIPE.build(mixed, workplace(snapshot=mixed, start=encoder))


def test_an_encoder_learns_what_texts_are_about(encoder, workplace):
    texts, labels = letters(60, seed=9)
    answers = workplace().session(encoder).run({"text": texts})
    assert (answers["label"] == labels).mean() > 0.95


def test_the_imported_files_stay_as_they_were_and_are_named_with_their_licence(encoder, tiny):
    imported = {
        f"tiny-{part}": f"sha256:{hashlib.sha256((tiny / f'tiny-{part}').read_bytes()).hexdigest()}"
        for part in ("weights", "tokenizer", "config")
    }
    assert encoder.notes["pretrained"] == {
        "name": "tiny",
        "files": imported,
        "licence": "CC0-1.0",
        "citation": "drawn",
    }
    kept = digests(encoder, "base.safetensors", "tokenizer.json")
    assert [f"sha256:{one}" for one in kept] == list(imported.values())[:2]


def test_the_adapter_is_two_thin_tensors_beside_query_and_value_and_the_head(encoder):
    held = load_file(encoder.files["adapter.safetensors"])
    assert {name: values.shape for name, values in held.items()} == {
        "adapter.head_bias": (2,),
        "adapter.head_weight": (HIDDEN, 2),
        "adapter.query_1_down": (HIDDEN, 2),
        "adapter.query_1_up": (2, HIDDEN),
        "adapter.value_1_down": (HIDDEN, 2),
        "adapter.value_1_up": (2, HIDDEN),
    }
    assert encoder.notes["learnt"] == sum(values.size for values in held.values())


def test_a_fine_tune_changes_the_adapter_and_no_other_file_of_the_graph(
    encoder, encoder_graph, tuned, mails, workplace
):
    graph = ExportOnnx().run(tuned, workplace(snapshot=mails))
    same = ("model.onnx", "tokenizer.json")
    assert digests(graph, *same) == digests(encoder_graph, *same)
    assert digests(graph, "adapter.safetensors") != digests(encoder_graph, "adapter.safetensors")
    assert tuned.notes["fine_tuned"]


def test_a_fine_tune_cannot_change_what_the_graph_is_made_of(encoder, mails, workplace):
    other = dataclasses.replace(RECIPE, length=16)
    assert refused(workplace, mails, encoder, other) == (
        "[E120] model to start from must have base, length, characters, layers and rank"
        " ['tiny', 16, 4000, 1, 2], got ['tiny', 12, 4000, 1, 2]"
        ". Train anew when one of them changes: the graph is another"
    )


def test_a_fine_tune_starts_from_the_recipes_own_model(encoder_graph, mails, workplace):
    assert refused(workplace, mails, encoder_graph) == (
        "[E120] model to start from must be a torch model of the recipe text_encoder,"
        " got onnx text_encoder.v1. Name the recipe's own model, not one that a pass exported"
    )


def test_more_tokens_than_the_base_knows_are_refused(tiny, mails, workplace):
    assert refused(workplace, mails, None, dataclasses.replace(RECIPE, length=64)) == (
        "[E120] pretrained tiny must have length and layers: it knows 32 tokens and 2 layers,"
        " got 64 and 1"
    )


def test_a_base_that_nobody_knows_is_refused(mails, workplace):
    said = refused(workplace, mails, None, dataclasses.replace(RECIPE, base="bert"))
    assert said == "[E120] text_encoder.base must be one of all-minilm-l6-v2, tiny, got bert"


def test_a_snapshot_without_texts_is_refused(snapshot, workplace):
    with pytest.raises(DataError) as caught:
        RECIPE.build(snapshot, workplace(snapshot=snapshot))
    assert str(caught.value) == (
        "[E110] snapshot bars must have one text per row as its only input, got image uint8[12, 12]"
    )


def test_an_adapter_that_lacks_a_tensor_is_named(encoder, tmp_path, workplace):
    files = {**encoder.files, "adapter.safetensors": encoder.files["tokenizer.json"]}
    with pytest.raises(ModelError) as caught:
        workplace().session(dataclasses.replace(encoder, files=files))
    said = "[E120] model files base.safetensors and adapter.safetensors must hold the tensors"
    assert str(caught.value).startswith(said)


def test_rows_of_the_field_are_learnt_from(encoder, tuned):
    before, after = (load_file(one.files["adapter.safetensors"]) for one in (encoder, tuned))
    assert any((before[name] != after[name]).any() for name in before)


@pytest.mark.text
def test_the_network_is_the_one_that_the_weights_were_trained_in():
    """The mean words' first numbers are those that transformers 4.57.1 gives for two texts."""
    import torch
    from pydantic import TypeAdapter
    from safetensors.torch import load
    from tokenizers import Tokenizer

    read = PRETRAINED[BASE].read(BASE)
    shape = TypeAdapter(Shape).validate_json(read[f"{BASE}-config.json"])
    net = network(shape, classes=4, rank=2, layers=3)
    head = {"adapter.head_weight": torch.eye(384)[:, :4], "adapter.head_bias": torch.zeros(4)}
    load_into(net, load(read[f"{BASE}-model.safetensors"]), {**learnt(net), **head})
    words = Tokenizer.from_buffer(read[f"{BASE}-tokenizer.json"]).encode_batch(
        ["Free money now!", "A long story about a cat that sat on a mat and went home"]
    )
    ids, mask = (torch.tensor([getattr(w, n) for w in words]) for n in ("ids", "attention_mask"))
    with torch.inference_mode():
        mean = net.above(net.below(ids, mask), mask)
    assert mean.tolist() == [
        pytest.approx([0.010388, 0.202874, -0.139431, 0.242359], abs=1e-5),
        pytest.approx([0.530951, 0.183740, 0.095821, 0.469045], abs=1e-5),
    ]
