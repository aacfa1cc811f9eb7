"""What checks saw, as the report shows it: any kind's pictures, and what third parties' may do."""

import dataclasses
import json
import re

import pytest

from edgeloop.loop.report import collect, render
from edgeloop.loop.report.evidence import MOST_PICTURES, read
from edgeloop.loop.report.facts import Facts, ReleaseFacts
from edgeloop.loop.report.seen import section, told
from edgeloop.types import Finding, Verdict

MATRIX = {
    "kind": "matrix",
    "title": "truth (down) and answer (across)",
    "rows": ["cat", "dog"],
    "columns": ["cat", "dog"],
    "cells": [[8, 2], [3, 7]],
}
BARS = {"kind": "bars", "title": "error by horizon", "names": ["1", "12"], "values": [0.2, 0.9],
        "unit": "MW"}  # fmt: skip
LINES = {"kind": "lines", "title": "answers and truth", "x": [0, 1, 2],
         "lines": {"truth": [1, 2, 3], "value": [1.5, None, 2.5]}, "x_name": "row",
         "y_name": "MW"}  # fmt: skip


def finding(*pictures, check="accuracy"):
    return Finding(check=check, verdict=Verdict.PASS, evidence={"pictures": list(pictures)})


def released(version, *findings):
    saw, unread = read(findings)
    return ReleaseFacts(
        version=version, digest="sha256:" + "0" * 64, size=1, checks=(), declared=(),
        saw=saw, unread=unread,
    )  # fmt: skip


def facts_of(*releases):
    return Facts(name="x", channel="stable", limit=0.25, features=2, releases=releases)


def cells(page):
    table = page[page.index('id="seen"') : page.index('id="rollouts"')]
    rows = re.findall(r"<tr><td(.*?)</tr>", table, flags=re.DOTALL)
    return [re.sub(r"<[^>]*>", "|", f"<td{row}").strip("|").split("||") for row in rows]


def test_every_kind_of_picture_is_drawn_with_its_own_words():
    page = render(facts_of(released(1, finding(MATRIX, BARS, LINES))))
    titles = re.findall(r'<title id="title-seen-\d">(.*?)</title>', page)
    assert titles == [MATRIX["title"], BARS["title"], LINES["title"]]
    captions = re.findall(r"<figcaption>(.*?)<span", page)
    assert captions[0] == "Truth (down) and answer (across); by the check accuracy."
    assert [(row[-2], row[-1]) for row in cells(page)] == [
        ("dog (down), cat (across)", "3"),
        ("cat (down), dog (across)", "2"),
        ("1", "0.2 MW"),
        ("12", "0.9 MW"),
        ("truth", "1 to 3"),
        ("value", "1.5 to 2.5"),
    ]


def test_a_matrix_of_unlike_rows_and_columns_tells_its_largest_cells():
    other = MATRIX | {"rows": ["cat", "dog"], "columns": ["seen", "missed"]}
    saw, _ = read([finding(other)])
    assert told(saw[0].picture)[0] == ("cat (down), seen (across)", "8")


def test_releases_stand_beside_each_other_and_the_oldest_is_left_out():
    releases = [released(version, finding(MATRIX)) for version in (1, 2, 3, 4)]
    assert {row[0] for row in cells(render(facts_of(*releases)))} == {
        "release 2", "release 3", "release 4"
    }  # fmt: skip


def test_a_matrix_too_wide_for_a_third_of_the_page_is_the_newest_release_alone():
    names = [str(number) for number in range(13)]
    ones = [[1] * 13 for _ in names]
    wide = MATRIX | {"rows": names, "columns": names, "cells": ones}
    page = render(facts_of(released(1, finding(wide)), released(2, finding(wide))))
    assert {row[0] for row in cells(page)} == {"release 2"}


def test_the_same_picture_of_two_checks_is_drawn_once():
    saw, _ = read([finding(BARS), finding(BARS, LINES, check="scaled_error")])
    assert [(one.check, one.picture.title) for one in saw] == [
        ("accuracy", BARS["title"]),
        ("scaled_error", LINES["title"]),
    ]


def test_a_picture_in_which_there_is_nothing_is_neither_drawn_nor_told():
    assert read([finding(BARS | {"names": [], "values": []})]) == ((), ())


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (
            MATRIX | {"cells": [[1, 2]]},
            "matrix: must have 2 rows of 2 cells",
        ),
        (
            MATRIX | {"cells": [[1, 2], [float("nan"), 1]]},
            "matrix.cells.1.0: Input should be a finite number",
        ),
        (BARS | {"values": [1]}, "bars: must have 2 values, one per name"),
        (
            LINES | {"lines": {"truth": [1]}},
            "lines: must have 3 values in each line, one per x",
        ),
        ({"kind": "bars"}, "bars.title: Field required"),
        (
            {"kind": "pie"},
            "picture: Input tag 'pie' found using 'kind' does not match any of the expected tags:"
            " 'matrix', 'bars', 'lines'",
        ),
        (
            "<script>",
            "picture: Input should be a valid dictionary or object to extract fields from",
        ),
    ],
)
def test_a_broken_picture_is_told_and_the_others_are_drawn(picture, why):
    saw, unread = read([finding(picture, BARS)])
    assert unread == (f"number 1 of accuracy, {why}",)
    assert [one.picture.title for one in saw] == [BARS["title"]]
    lead = section(facts_of(released(1, finding(picture, BARS)))).lead
    assert lead.endswith(f" 1 picture cannot be drawn: {unread[0]} (release 1).")


def test_evidence_without_a_list_of_pictures_is_told():
    odd = Finding(check="accuracy", verdict=Verdict.PASS, evidence={"pictures": 7})
    assert read([odd])[1][0].startswith("number 1 of accuracy, picture: ")


def test_a_check_leaves_no_more_pictures_than_a_page_holds():
    many = [BARS | {"title": f"bars {number}"} for number in range(MOST_PICTURES + 5)]
    assert len(read([finding(*many)])[0]) == MOST_PICTURES


def test_what_a_check_says_cannot_become_markup():
    evil = "<script>alert(1)</script> $x^2$"
    pictures = (
        MATRIX | {"title": evil, "rows": [evil, "b"], "columns": [evil, "b"]},
        BARS | {"title": evil, "names": [evil, "b"], "unit": evil},
        LINES | {"title": evil, "lines": {evil: [1, 2, 3]}, "x_name": evil},
    )
    page = render(facts_of(released(1, finding(*pictures, check=evil))))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > len(pictures)


def test_what_checks_saw_goes_to_json():
    facts = facts_of(released(1, finding(MATRIX, BARS, LINES)))
    seen = json.loads(json.dumps(dataclasses.asdict(facts)))["releases"][0]["saw"]
    assert [one["picture"] for one in seen] == [MATRIX, BARS, LINES]


def test_the_answer_kind_gives_the_word_for_quality(story):
    facts = collect(story.loop, story.store, windows=story.given()["windows"])
    assert facts.measure == "accuracy"
    boxes = dataclasses.replace(facts, measure="box F1")
    assert ">Box F1 in the field</h2>" in render(boxes)
    assert "box F1, all the time" in render(boxes)
