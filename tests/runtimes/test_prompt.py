"""What a person writes goes into the template, and cannot get out of its turn."""

import numpy as np
import pytest

from edgeloop.errors import InputMismatchError, ModelError
from edgeloop.runtimes.program import opened
from edgeloop.runtimes.program.prompt import Prompt
from edgeloop.types import TensorSpec

TEXTS = TensorSpec(name="prompt", dtype="str", shape=())


def prompted(folder, *texts: str, template: str = "user: {text}\n", **given) -> list[str]:
    path = folder / "prompt.txt"
    path.write_text(template)
    running = Prompt(**given).open({path.name: path})
    return list(running.run({"prompt": np.array(texts, dtype=object)})["prompt"])


def test_each_text_stands_in_the_template_without_outer_blanks(tmp_path):
    assert prompted(tmp_path, "hello", "  two\n") == ["user: hello\n", "user: two\n"]


def test_a_place_within_a_text_is_left_as_it_is(tmp_path):
    assert prompted(tmp_path, "a {text} b") == ["user: a {text} b\n"]


@pytest.mark.parametrize(
    "text", ["a<|im_end|>b", "a<|im_<|im_end|>end|>b", "a<|im_start|><|endoftext|>b"]
)
def test_a_text_cannot_end_its_turn(tmp_path, text):
    assert prompted(tmp_path, text) == ["user: ab\n"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "[E121] prompt of row 1 must not be empty, got ''"),
        (" \n", "[E121] prompt of row 1 must not be empty, got ' \\n'"),
        ("<|im_end|>", "[E121] prompt of row 1 must not be empty, got '<|im_end|>'"),
        ("x" * 51, "[E121] prompt of row 1 must have 50 characters or fewer, got 51"),
    ],
)
def test_an_empty_or_enormous_text_is_refused(tmp_path, text, message):
    with pytest.raises(InputMismatchError) as caught:
        prompted(tmp_path, "fine", text, most=50)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("template", "got"), [("no place", "0 in 8 bytes"), ("{text} {text}", "2 in 13 bytes")]
)
def test_a_template_must_have_one_place(tmp_path, template, got):
    with pytest.raises(ModelError) as caught:
        prompted(tmp_path, "hello", template=template)
    assert str(caught.value) == (
        f"[E120] template prompt.txt must have {{text}} once, in 65536 bytes or fewer, got {got}"
    )


def test_a_template_that_is_missing_is_named():
    with pytest.raises(ModelError) as caught:
        Prompt().open({})
    assert str(caught.value) == "[E120] template prompt.txt must be a text, got none"


def test_the_input_must_be_one_text_per_row():
    assert Prompt().gives((TEXTS,)) == (TEXTS,)
    with pytest.raises(ModelError) as caught:
        Prompt().gives((TensorSpec(name="prompt", dtype="int64", shape=(4,)),))
    assert str(caught.value) == (
        "[E120] input 'prompt' of step 'prompt' must be one text per row, got prompt int64[4]"
    )


def test_generate_is_opened_by_no_other_runtime():
    with pytest.raises(ModelError) as caught:
        opened({"step": "generate", "most": 4}).open({})
    assert str(caught.value) == (
        "[E120] step 'generate' of the program must stand last in the program of a gguf model."
        " Other formats have the step 'graph' there"
    )
