"""What the report counts: one definition of each figure, in the same words wherever it stands."""

import dataclasses
import re

from report_story import START

from edgeloop.loop.report import collect, render
from edgeloop.loop.report.facts import Answers
from edgeloop.loop.report.story import sentences, turn
from edgeloop.loop.report.words import unbroken


def test_what_a_turn_won_can_be_told_on_inputs_that_were_never_sent_home(story, facts):
    told = collect(story.loop, story.store, **story.given(), fresh_since=START + 250).turns[0]
    late = [
        one.window
        for one in story.given()["windows"]
        if (one.labels["site"], one.window.version) == ("south", 3)
        and one.window.began >= START + 250
    ]
    assert told.confirmed == (facts.turns[0].confirmed[0], sum(one.confirmed for one in late))
    assert told.confirmed[1] < facts.turns[0].confirmed[1]
    assert turn(told, "accuracy").endswith(
        f"(release 3, {told.confirmed[1]} confirmed answers on inputs of which none was sent home)."
    )


def test_answers_that_no_log_has_are_counted_and_told(story):
    given = story.given()
    first, *rest = given["windows"]
    lost = first.window.model_copy(update={"unlogged": 7, "errors": 2})
    given["windows"] = [first.model_copy(update={"window": lost}), *rest]
    facts = collect(story.loop, story.store, **given)
    total = 100 * len(given["windows"])
    assert facts.answers == Answers(given=total, failed=2, unlogged=7)
    assert sentences(facts)[1] == (
        f"Devices gave {total} answers; 2 failed; 7 answers could not be written to the device's"
        " log."
    )


def test_a_pass_without_a_value_is_one_in_the_picture_the_table_and_the_headline(facts):
    reason = "first release on this channel"
    line = dataclasses.replace(
        facts.releases[0].checks[0], check="disagreement", value=None, interval=None, reason=reason
    )
    first = dataclasses.replace(facts.releases[0], checks=(line,))
    told = dataclasses.replace(facts, releases=(first,))
    page = render(told)
    said = "1 of 1 check (1 of them without a value: there was nothing to compare with)"
    assert f"passed {said}; rollout 1 finished" in sentences(told)[2]
    assert ">pass, without a value</text>" in page
    assert f">{reason}</td>" in page


def test_a_number_stays_on_the_line_of_its_unit():
    assert unbroken("over 5 %, 2 devices in 3 s") == "over 5\xa0%, 2 devices in 3\xa0s"


def test_on_a_narrow_screen_every_cell_says_its_column(facts):
    page = render(facts, {"a": "yes: b"})
    closing = page[page.index('id="closing"') :]
    assert re.findall(r'data-label="([^"]*)"', closing) == [
        "point", "happened", "what was recorded"
    ]  # fmt: skip
