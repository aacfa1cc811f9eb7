"""Texts of any size become numbers, with the tokenizer that belongs to the weights alone."""

import dataclasses

import numpy as np
import pytest

from edgeloop.arrayfiles import as_texts
from edgeloop.errors import InputMismatchError, ModelError
from edgeloop.runtimes.program.tokenize import Tokenize
from edgeloop.types import TensorSpec
from text_side import CONFIG, WORDS, sha256, tokenizer

CLS, SEP, PAD, UNKNOWN = 2, 3, 0, 1
STEP = Tokenize(sha256=sha256(tokenizer()), vocabulary=CONFIG["vocab_size"], length=8)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(tokenizer())
    return path


def ids(step: Tokenize, file, *texts: str) -> list[list[int]]:
    fed = step.open({"tokenizer.json": file}).run({"text": as_texts(list(texts))})
    assert (fed["attention_mask"] == (fed["input_ids"] != PAD)).all()
    return fed["input_ids"].tolist()


def refused(step: Tokenize, files) -> str:
    with pytest.raises(ModelError) as caught:
        step.open(files)
    return str(caught.value)


def test_a_text_has_the_same_numbers_whatever_stands_in_the_other_rows(file):
    alone = ids(STEP, file, "win money")[0]
    beside = ids(STEP, file, "win money", "the " * 50, "")[0]
    assert alone == beside == [CLS, 4, 5, SEP, PAD, PAD, PAD, PAD]


def test_an_empty_text_is_the_special_tokens_alone(file):
    assert ids(STEP, file, "") == [[CLS, SEP] + [PAD] * 6]


def test_no_texts_are_no_rows(file):
    fed = STEP.open({"tokenizer.json": file}).run({"text": np.empty(0, dtype=object)})
    assert fed["input_ids"].shape == fed["attention_mask"].shape == (0, 8)


def test_more_tokens_than_length_are_left_out(file):
    assert ids(STEP, file, "win money now meet lunch report the a")[0][-2:] == [9, SEP]


def test_characters_beyond_the_bound_are_never_looked_at(file):
    short = dataclasses.replace(STEP, characters=9)
    assert ids(short, file, "win money" + " now" * 1_000_000) == ids(short, file, "win money")


def test_half_a_character_is_read_as_a_question_mark(file):
    assert ids(STEP, file, "win \ud800") == [[CLS, 4, UNKNOWN, SEP] + [PAD] * 4]


def test_inputs_that_are_no_texts_are_refused(file):
    opened = STEP.open({"tokenizer.json": file})
    with pytest.raises(InputMismatchError) as caught:
        opened.run({"text": np.zeros(3, dtype=np.float32)})
    rule = "[E121] input 'text' must be str[n], one text per row, got float32[3]"
    assert str(caught.value) == rule
    with pytest.raises(InputMismatchError) as caught:
        opened.run({"words": as_texts(["win"])})
    assert str(caught.value) == "[E121] inputs must have text, got words"


def test_a_tokenizer_of_other_weights_is_refused(tmp_path):
    other = tmp_path / "tokenizer.json"
    other.write_bytes(tokenizer(WORDS[::-1]))
    assert refused(STEP, {"tokenizer.json": other}) == (
        f"[E120] tokenizer tokenizer.json must be the one of the weights, sha256"
        f" {STEP.sha256[:12]}.., got {sha256(tokenizer(WORDS[::-1]))[:12]}.."
        ". With another tokenizer the same words would be other numbers"
    )


def test_a_tokenizer_of_another_vocabulary_is_refused(file):
    wrong = Tokenize(sha256=STEP.sha256, vocabulary=13)
    assert refused(wrong, {"tokenizer.json": file}) == (
        "[E120] tokenizer tokenizer.json must know 13 tokens, as the weights do, got 14"
    )


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    other = tmp_path / "tokenizer.json"
    other.write_bytes(b"{}")
    step = Tokenize(sha256=sha256(b"{}"), vocabulary=14)
    assert refused(step, {"tokenizer.json": other}) == (
        "[E120] tokenizer tokenizer.json must be a file of the library tokenizers,"
        " got Cannot instantiate Tokenizer from buffer: Model missing. at line 1 column 2"
    )


def test_a_missing_tokenizer_is_named():
    assert refused(STEP, {}) == "[E120] tokenizer tokenizer.json must be there, got none"


def test_the_graph_gets_ids_and_mask_in_place_of_the_text():
    text = TensorSpec(name="text", dtype="str", shape=())
    age = TensorSpec(name="age", dtype="float32", shape=())
    given = [(one.name, one.shape) for one in STEP.gives((age, text))]
    assert given == [("input_ids", (8,)), ("attention_mask", (8,)), ("age", ())]
    with pytest.raises(ModelError) as caught:
        STEP.gives((age,))
    assert str(caught.value) == (
        "[E120] input 'text' of step 'tokenize' must be one text per row, got age float32[]"
    )
