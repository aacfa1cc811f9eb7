"""Prompts are speeches of the plays, the answer is who speaks, and no row is in both halves."""

import pytest

from edgeloop.data.sets.who_speaks import EACH, SPEAKERS, load, speeches
from edgeloop.plugins import Context

TEXT = "ROMEO:\nBut soft,\nwhat light?\n\nFirst Citizen:\nSpeak, speak.\n\nno speech\n\nAll:\n"


def test_a_speech_is_one_line_with_its_speaker():
    assert [str(one) for one in speeches(TEXT)] == [
        "Romeo: But soft, what light?",
        "First Citizen: Speak, speak.",
    ]


@pytest.mark.llm
def test_a_share_and_its_rest_have_every_speaker_and_no_row_in_common(tmp_path):
    halves = []
    for rest in (False, True):
        scratch = tmp_path / str(rest)
        scratch.mkdir()
        halves.append(load(Context(scratch=scratch), share=0.25, rest=rest))
    one, other = halves
    assert (one.rows, other.rows) == (SPEAKERS * EACH // 4, SPEAKERS * EACH * 3 // 4)
    assert set(one.column("reply")) == set(other.column("reply"))
    assert len(set(one.column("reply"))) == SPEAKERS
    assert not set(one.column("prompt")) & set(other.column("prompt"))
    prompt, reply = one.column("prompt")[0], one.column("reply")[0]
    assert prompt.startswith(f"{reply}: ")
    assert prompt.endswith("\nWho speaks?")
