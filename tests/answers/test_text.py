"""What worse, equal and like mean for texts."""

import numpy as np
import pytest

from edgeloop.answers.text import Text
from edgeloop.testing import contracts

KIND = Text(most=10)


def answers(*texts: str, tokens: int = 5, probability: float = 0.5) -> dict[str, np.ndarray]:
    return {
        "text": np.array(texts, dtype=object),
        "tokens": np.full(len(texts), tokens, dtype=np.int64),
        "probability": np.full(len(texts), probability, dtype=np.float32),
    }


def test_the_kind_keeps_the_contract(monkeypatch):
    monkeypatch.setattr(contracts, "FOREIGN", "...")  # any text with a word could be true
    truth = np.array(["Romeo", "Third Lord", "Nurse"], dtype=object)
    contracts.check_answer_kind(KIND, answers("Romeo", "A lord.", ""), truth)


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [
        ("The Third Lord.", "the third lord", 0.0),
        ("third lord", "Lord, third", 0.0),
        ("third lord", "third", 1 - 2 / 3),
        ("no no no", "no", 1 - 2 / 4),
        ("Romeo", "Juliet", 1.0),
        ("", "", 0.0),
        ("", "Juliet", 1.0),
    ],
)
def test_disagreement_is_the_share_of_words_that_two_texts_do_not_have_in_common(one, other, gap):
    assert KIND.disagreement(answers(one), answers(other)) == pytest.approx([gap])
    assert KIND.quality(answers(one), answers(other)["text"]) == pytest.approx([1 - gap])


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "equal"),
    [
        ("abcdefghij", "abcdefghij", 0.0, True),
        ("abcdefghij", "abcdefghiX", 0.1, True),
        ("abcdefghij", "abcdefghiX", 0.05, False),
        ("abcdefghij", "Xbcdefghij", 0.5, False),
        ("abcdefghij", "abcde", 0.5, True),
        ("abcdefghij", "abcde", 0.4, False),
        ("", "", 0.0, True),
        ("", "a", 0.9, False),
    ],
)
def test_parity_asks_how_much_of_the_longer_text_leads_both(one, other, tolerance, equal):
    assert KIND.parity(answers(one), answers(other), tolerance).tolist() == [equal]


def test_length_is_claimed_as_a_share_of_the_most_tokens():
    told = KIND.claims(answers("a", tokens=4, probability=0.25))
    assert {name: values.tolist() for name, values in told.items()} == {
        "confidence": [0.25],
        "length": [0.4],
    }


@pytest.mark.parametrize("stated", ["", "...", 7, None, "word " * 20_001])
def test_what_a_person_confirms_must_be_a_text_with_a_word(stated):
    with pytest.raises(ValueError) as caught:
        KIND.truth(stated)
    assert str(caught.value) == "must be a text with a word, of 100000 characters or fewer"


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.zeros(2), "must hold one text per row, got float64[2]"),
        (
            np.array(["fine", "?"], dtype=object),
            "must be a text with a word, of 100000 characters or fewer, got '?' in row 1",
        ),
    ],
)
def test_a_target_column_must_hold_texts(truth, message):
    with pytest.raises(ValueError) as caught:
        KIND.check_truth(truth)
    assert str(caught.value) == message


def test_the_evidence_shows_how_many_answers_are_how_good():
    truth = np.array(["Romeo", "Juliet", "third lord"], dtype=object)
    (bars,) = KIND.evidence(answers("Romeo", "Romeo", "lord"), truth)["pictures"]
    assert bars["values"] == [1, 0, 0, 1, 1]
    assert KIND.tally(truth) == {"words": {"least": 1, "mean": 1.333, "most": 2}}
