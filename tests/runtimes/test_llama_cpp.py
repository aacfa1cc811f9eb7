"""A language model answers rows and streams, refuses what does not fit, and keeps no memory."""

import dataclasses
import urllib.request

import numpy as np
import pytest

from edgeloop.errors import InputMismatchError, ModelError
from edgeloop.testing import contracts
from llm_side import llm, session, talk, texts  # noqa: F401

pytestmark = pytest.mark.llm


def test_the_runtime_keeps_the_contract(llm, talk, workplace):  # noqa: F811
    from edgeloop.runtimes.llama_cpp import LlamaCpp

    rows = {"prompt": texts("Say hello.", "Name a fruit.")}
    contracts.check_runtime(LlamaCpp(), llm, rows, workplace())


def test_an_answer_does_not_depend_on_what_was_asked_before(session):  # noqa: F811
    long = "Tell me in a few words what people do in the mountains of Norway. " * 8
    asked = (f"{long} In winter?", f"{long} In summer?", "Name a fruit.")
    forward = session.run({"prompt": texts(*asked)})
    backward = session.fresh().run({"prompt": texts(*asked[::-1])})
    assert list(forward["text"]) == list(backward["text"])[::-1]
    assert np.array_equal(forward["probability"], backward["probability"][::-1])


def test_the_pieces_of_a_stream_are_the_answer(session):  # noqa: F811
    row = {"prompt": texts("Where is Paris?")}
    pieces = list(session.stream(row))
    assert len(pieces) > 1
    assert "".join(pieces) == session.run(row)["text"][0]


def test_a_stream_that_is_closed_lets_the_next_answer_come(session):  # noqa: F811
    stream = session.stream({"prompt": texts("Count to five.")})
    next(stream)
    stream.close()
    assert session.run({"prompt": texts("Say hello.")})["tokens"][0] > 0


def test_a_stream_takes_one_row(session):  # noqa: F811
    with pytest.raises(InputMismatchError) as caught:
        session.stream({"prompt": texts("a", "b")})
    assert str(caught.value) == "[E121] inputs to stream must have one row, got 2"


@pytest.mark.parametrize("ask", ["run", "stream"])
def test_a_prompt_longer_than_the_context_is_refused_and_the_next_is_answered(
    session,  # noqa: F811
    ask,
):
    with pytest.raises(InputMismatchError) as caught:
        list(getattr(session, ask)({"prompt": texts("word " * 400)}))
    assert str(caught.value) == (
        "[E121] prompt of row 0 must have fewer than 256 tokens, its template included,"
        " got 409 tokens"
    )
    assert session.run({"prompt": texts("Say hello.")})["tokens"][0] > 0


def test_tokens_of_a_text_are_scored_over_the_whole_vocabulary(session):  # noqa: F811
    told = session.score("Paris is the capital of France.", 100, 4)
    tokens = session.tokens("Paris is the capital of France.")
    assert [one.token for one in told] == tokens[1:]
    assert all(one.log <= max(one.likeliest.values()) + 1e-6 for one in told)
    likely = session.score("The sky is blue and the grass is green.", 100, 1)
    unlikely = session.score("The green sky the is and blue grass is.", 100, 1)
    assert sum(one.log for one in likely) > sum(one.log for one in unlikely) + 5


def test_a_text_longer_than_the_context_is_scored_in_parts(session):  # noqa: F811
    tokens = session.tokens("again and " * 150)
    assert len(session.score("again and " * 150, 280, 1)) == 280 - 2  # each part's first is given
    assert len(tokens) > 280


def test_nobody_else_on_the_machine_may_ask(session):  # noqa: F811
    address = f"{session._server.listening_address}/tokenize"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(address, b'{"content": "a"}')


def test_another_program_than_prompt_generate_is_refused(llm, workplace):  # noqa: F811
    with pytest.raises(ModelError) as caught:
        workplace().session(dataclasses.replace(llm, program=llm.program[1:]))
    assert str(caught.value) == (
        "[E120] program of a gguf model must be the steps 'prompt' and 'generate', got generate"
    )


def test_a_file_that_llama_cpp_cannot_run_is_named(llm, workplace, tmp_path):  # noqa: F811
    path = tmp_path / "model.gguf"
    content = llm.files["model.gguf"].read_bytes()
    path.write_bytes(content.replace(b"llama", b"other", 1))
    with pytest.raises(ModelError) as caught:
        workplace().session(dataclasses.replace(llm, files={**llm.files, path.name: path}))
    assert str(caught.value) == (
        "[E120] model file model.gguf must be a GGUF file that llama.cpp can run, got Failed to"
        " init server, please check the input params.. Its architecture may be unknown to this"
        " version, or memory too small"
    )
