"""Which template a model gets is learned from rows of every population, where there is a choice."""

import pytest
from pydantic import ValidationError
from tests.runtimes.test_gguf_header import WHOLE

from edgeloop.data.merge import merge
from edgeloop.data.split import Stratified
from edgeloop.errors import ModelError
from edgeloop.recipes.gguf_file import GgufFile
from edgeloop.runtimes.llama_cpp import LlamaCpp
from edgeloop.runtimes.program.generate import Generate
from edgeloop.types import Model, Snapshot
from llm_side import MOST, talk, texts  # noqa: F401

PLAIN, BOTH = "Plain: {text}", "Both: {text}"


class Answers:
    """Says "Yes." (which is true) to ordinary prompts, and to others where the template helps."""

    def __init__(self, template: str) -> None:
        self._template = template

    def run(self, feed):
        known = [self._template == BOTH or not one.startswith("Scene") for one in feed["prompt"]]
        return {"text": texts(*["Yes." if one else "No." for one in known])}


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The templates of the models that were loaded."""
    found: list[str] = []

    def load(self, model: Model, budget):
        found.append(model.files["prompt.txt"].read_text())
        return Answers(found[-1])

    monkeypatch.setattr(LlamaCpp, "load", load)
    return found


def built(workplace, snapshot: Snapshot, start: Model | None = None, **given) -> Model:
    place = workplace(snapshot=snapshot, start=start)
    (place.scratch / "tiny.gguf").write_bytes(WHOLE)
    given = {"template": PLAIN, "candidates": {"both": BOTH}, **given}
    recipe = GgufFile(file=place.scratch / "tiny.gguf", generate=Generate(most=MOST), **given)
    return recipe.build(snapshot, place)


def with_field(rows: Snapshot, workplace) -> Snapshot:
    fresh = ({"prompt": texts(*[f"Scene {n}" for n in range(6)])}, texts(*["Yes."] * 6))
    split = Stratified(test=0.2, validation=0.1)
    return merge(rows, fresh, "field:south", workplace().scratch, split=split)


def test_field_rows_count_as_much_as_the_many_from_before(talk, workplace, asked):  # noqa: F811
    assert built(workplace, with_field(talk, workplace)).notes["templates"] == {
        "template": {"clean": 1.0, "field:south": 0.0, "mean": 0.5},
        "both": {"clean": 1.0, "field:south": 1.0, "mean": 1.0},
    }
    assert asked == [PLAIN, BOTH]


def test_the_chosen_template_is_the_model_s(talk, workplace, asked):  # noqa: F811
    model = built(workplace, with_field(talk, workplace))
    assert model.notes["template"] == "both"
    assert model.files["prompt.txt"].read_text() == BOTH


def test_the_template_before_stays_where_another_is_no_better(talk, workplace, asked):  # noqa: F811
    assert built(workplace, talk).notes["template"] == "template"
    started = built(workplace, talk, template=BOTH, candidates={})
    assert built(workplace, talk, start=started).notes["template"] == "both"
    assert asked[-2:] == [BOTH, PLAIN]
    started = built(workplace, talk, template="Gone: {text}", candidates={})
    assert next(iter(built(workplace, talk, start=started).notes["templates"])) == "before"


def test_no_more_rows_are_asked_than_were_allowed(talk, workplace, asked, monkeypatch):  # noqa: F811
    counts: list[int] = []
    run = Answers.run
    monkeypatch.setattr(
        Answers, "run", lambda self, feed: counts.append(len(feed["prompt"])) or run(self, feed)
    )
    built(workplace, with_field(talk, workplace), rows=2)
    assert counts == [2, 2, 2, 2]


def test_with_one_template_nothing_is_asked(talk, workplace, asked):  # noqa: F811
    model = built(workplace, talk, candidates={})
    assert "templates" not in model.notes
    assert asked == []


def test_a_candidate_without_a_place_is_named(talk, workplace):  # noqa: F811
    with pytest.raises(ModelError) as caught:
        built(workplace, talk, candidates={"bare": "nothing"})
    assert str(caught.value) == (
        "[E120] template bare of candidates must have {text} once, in 65536 bytes or fewer,"
        " got 0 in 7 bytes"
    )


def test_a_candidate_has_a_name_of_its_own():
    with pytest.raises(ValidationError, match="must not name a candidate before, template"):
        GgufFile(file="a.gguf", candidates={"template": PLAIN, "before": PLAIN})
