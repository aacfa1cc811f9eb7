"""A GGUF file in another number format: the same model, deterministic, and no other tensor."""

import dataclasses

import pytest

from edgeloop.errors import ModelError
from edgeloop.passes.gguf_quantize import GgufQuantize
from edgeloop.runtimes.gguf_header import read_header
from edgeloop.testing import contracts
from llm_side import llm, session, talk, texts  # noqa: F401

pytestmark = pytest.mark.llm

Q4_0, Q4_1 = 2, 3
EMBEDDING = "token_embd.weight"


def test_the_pass_keeps_the_contract_and_changes_only_what_was_named(llm, talk, workplace):  # noqa: F811
    made = contracts.check_pass(
        GgufQuantize(to="Q4_0", tensors=(EMBEDDING,)), llm, workplace(snapshot=talk)
    )
    before, after = (read_header(m.files["model.gguf"], "model.gguf") for m in (llm, made))
    assert dict(before.entries) == dict(after.entries)
    differ = {name for name, one in before.tensors.items() if one.type != after.tensors[name].type}
    assert differ == {EMBEDDING}
    assert after.tensors[EMBEDDING].type == Q4_0
    assert made.notes["quantization"] == {"scheme": "Q4_0", "tensors": [EMBEDDING], "changed": 1}
    assert made.files["prompt.txt"] == llm.files["prompt.txt"]


def test_vectors_are_never_quantized(llm, workplace):  # noqa: F811
    made = GgufQuantize(to="Q8_0", tensors=("blk.0.attn_*",)).run(llm, workplace())
    header = read_header(made.files["model.gguf"], "model.gguf")
    assert header.tensors["blk.0.attn_norm.weight"].type == 0
    assert made.notes["quantization"]["changed"] == 4
    assert workplace().session(made).run({"prompt": texts("Say hello.")})["tokens"][0] > 0


def test_a_pattern_that_matches_nothing_is_refused(llm, workplace):  # noqa: F811
    with pytest.raises(ModelError) as caught:
        GgufQuantize(tensors=("layer.*",)).run(llm, workplace())
    assert str(caught.value) == (
        "[E120] gguf_quantize.tensors must match a matrix that the format fits, got layer.*"
    )


def test_another_format_is_refused(llm, workplace):  # noqa: F811
    with pytest.raises(ModelError) as caught:
        GgufQuantize().run(dataclasses.replace(llm, format="onnx"), workplace())
    assert str(caught.value) == "[E120] gguf_quantize must be given a gguf model, got onnx"
