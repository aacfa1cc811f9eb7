"""The report: what it tells of a whole story, of nothing, and how it is written."""

import dataclasses
import itertools
import json
import re
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest
import typer
from report_story import FEATURES, REASON, START, Story, key
from typer.testing import CliRunner

from edgeloop.cli.report import add_to
from edgeloop.errors import DataError, MissingExtraError
from edgeloop.loop.report import collect, graph, render
from edgeloop.loop.report.checklines import bound
from edgeloop.loop.report.collect import read_blob_log
from edgeloop.loop.report.drift import STRETCHES
from edgeloop.loop.report.facts import CheckLine, Facts, Lane, Mark, Trigger, Turn
from edgeloop.loop.report.story import sentences
from edgeloop.loop.report.words import clock, limit, measured, size
from edgeloop.store.artifacts import Store


class Parsed(HTMLParser):
    """Every tag with its attributes, in order."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def values(self, *names):
        return [value for _, attrs in self.tags for name, value in attrs.items() if name in names]

    def count(self, name):
        return sum(tag == name for tag, _ in self.tags)


@pytest.fixture(scope="module")
def page(facts):
    return render(facts, {"the canary went back by itself": "yes", "from alarm to fleet": "131 s"})


def test_the_headline_tells_the_whole_story(facts):
    assert sentences(facts)[:-1] == [
        "3 releases and 8 devices (north and south), over 4 min 54 s.",
        (f"Devices gave {facts.answers.given} answers; none failed; each is in its device's log."),
        (
            f"Release 1 ({size(facts.releases[0].size)}) passed 6 of 6 checks; "
            "rollout 1 finished: 8 of 8 took it."
        ),
        (
            f"Release 2 ({size(facts.releases[1].size)}) passed 7 of 7 checks; rollout 2 stopped "
            "(FAILED 100 % of 1 executed, over 5 %): 0 of 8 took it, 7 were never offered it."
        ),
        (
            f"Release 3 ({size(facts.releases[2].size)}) passed 7 of 7 checks; "
            "rollout 3 finished: 8 of 8 took it."
        ),
        f"On cam-5 (south), release 2 was taken back by the device itself: {REASON}.",
        (
            "The trigger fired for south, which ran release 1: inputs of south moved from profile "
            "'clean': psi of input.image.bright 0.95."
        ),
    ]
    assert re.fullmatch(
        r"Field accuracy of south went from 7\d\.\d % \(release 1, \d+ confirmed answers from those"
        r" that the trigger judged on\) to 9\d\.\d % \(release 3, \d+ confirmed answers\)\.",
        sentences(facts)[-1],
    )


def test_the_page_asks_the_network_for_nothing(page):
    parsed = Parsed(page)
    links = parsed.values("href", "src", "xlink:href", "srcset", "action", "data")
    assert links
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|<img|url\((?!#)", page)


def test_the_same_facts_give_the_same_page(facts, page):
    extra = {"the canary went back by itself": "yes", "from alarm to fleet": "131 s"}
    assert render(facts, extra) == page


def test_no_two_things_on_the_page_have_one_id_and_every_reference_is_met(page):
    parsed = Parsed(page)
    ids = Counter(parsed.values("id"))
    assert [name for name, many in ids.items() if many > 1] == []
    told = parsed.values("aria-labelledby")
    referred = [link[1:] for link in parsed.values("href")] + re.findall(r"url\(#([^)]+)\)", page)
    assert set(told) | set(referred) <= set(ids)


def test_every_picture_has_a_title_a_caption_and_a_table(page):
    parsed = Parsed(page)
    pictures = [attrs for tag, attrs in parsed.tags if tag == "svg"]
    assert len(pictures) == 9  # two trainings, and one of each other section but the closing table
    assert all(one["role"] == "img" and one["aria-labelledby"] for one in pictures)
    assert parsed.count("title") == 1 + len(pictures)
    assert parsed.count("figcaption") == len(pictures)
    assert parsed.count("table") == parsed.count("section") == 10


def test_every_color_of_a_picture_is_the_pages(page):
    pictures = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert re.findall(r"(?:fill|stroke|color): ?#[0-9a-f]{3,6}", pictures) == []


def test_without_store_and_fleet_every_section_says_why_it_is_empty(story, tmp_path):
    facts = collect(story.loop, Store(tmp_path / "empty"))
    page = render(facts)
    assert sentences(facts) == ["0 releases; no fleet was asked."]
    assert re.findall(r"</h2>\n<p>(.*)</p>", page) == [
        "No release with checks is in the store.",
        "No release is in the store.",
        "No recipe step with curves made a release.",
        "No check left a picture in its evidence.",
        "No device has reported yet.",
        "No answers were confirmed by people, so it was not measured.",
        "Too few signals came home to judge drift.",
        "There is no log of the blob server.",
        "There is no release yet.",
    ]
    assert "<svg" not in page


def test_a_store_without_a_fleet_is_told_alone(story):
    facts = collect(story.loop, story.store)
    assert sentences(facts)[0] == "3 releases; no fleet was asked."
    assert sentences(facts)[1].endswith("passed 6 of 6 checks; was not rolled out.")
    assert "<svg" in render(facts)


def test_windows_without_audit_lines_are_shown(story):
    facts = collect(story.loop, story.store, windows=story.given()["windows"])
    assert facts.drift
    assert facts.turns == ()
    assert "Drift of each group" in render(facts)


def test_what_devices_say_cannot_become_markup(facts):
    evil = "<script>alert(1)</script>"
    mark = Mark(time=START + 9, kind="failed", version=2, reason=evil)
    lanes = (dataclasses.replace(facts.lanes[0], name=evil, group=evil, marks=(mark,)),)
    fired = Trigger(time=START, action="fired", group=evil, version=1, reason=evil, led_to=None)
    sent = tuple(dataclasses.replace(one, device=evil) for one in facts.sent)
    trainings = (dataclasses.replace(facts.trainings[0], plugin=evil),)
    page = render(
        dataclasses.replace(facts, lanes=lanes, triggers=(fired,), sent=sent, trainings=trainings),
        {evil: evil},
    )
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_name_with_dollars_is_no_formula(facts):
    lane = dataclasses.replace(facts.lanes[0], name="cam $x^2$ \\frac")
    assert "cam $x^2$ \\frac" in render(dataclasses.replace(facts, lanes=(lane,)))


def test_facts_go_to_json(facts):
    told = json.loads(json.dumps(dataclasses.asdict(facts)))
    assert [one["version"] for one in told["releases"]] == [1, 2, 3]


def test_a_lane_shows_what_ran_what_was_tried_and_what_was_taken_back(facts):
    lane = next(one for one in facts.lanes if one.name == "cam-5")
    assert [(span.running, span.trying) for span in lane.spans] == [
        (None, 1),
        (1, None),
        (1, 2),
        (1, None),
        (1, 3),
        (3, None),
    ]
    assert lane.marks == (Mark(time=START + 127, kind="taken back", version=2, reason=REASON),)
    assert lane.spans[-1].ended == facts.ended
    others = [mark for one in facts.lanes if one.name != "cam-5" for mark in one.marks]
    assert others == []


def test_a_rollout_counts_whom_it_was_offered_to(facts):
    told = [(one.version, one.state, one.offered, one.succeeded) for one in facts.rollouts]
    assert told == [(1, "finished", 8, 8), (2, "stopped", 1, 0), (3, "finished", 8, 8)]


def test_drift_is_seen_where_and_when_the_inputs_moved(facts):
    drifted = {(point.group, point.version) for point in facts.drift if point.drifted}
    assert drifted == {("south", 1)}
    first = min(point.time for point in facts.drift if point.drifted)
    assert 88 < first - START < 112
    profiles = {
        point.profile for point in facts.drift if (point.group, point.version) == ("south", 3)
    }
    assert profiles == {"field:south"}
    assert min(point.answers for point in facts.drift) == 300  # as many as the trigger asks for
    assert set(facts.drift[0].psi) == {f"input.image.{name}" for name in FEATURES}


def test_a_turn_compares_the_judged_and_later_answers_with_those_of_the_new_release(story, facts):
    windows = story.given()["windows"]
    south = [one for one in windows if one.labels["site"] == "south"]
    old = [one for one in south if one.window.version == 1]
    judged = [one for one in old if one.received <= START + 131][-3:]  # of 100 answers each
    before = [*judged, *(one for one in old if one.received > START + 131)]
    after = [one for one in south if one.window.version == 3]
    many = [sum(one.window.confirmed for one in some) for some in (before, after)]
    right = [sum(one.window.quality for one in some) for some in (before, after)]
    assert facts.turns == (
        Turn(
            group="south",
            before=1,
            after=3,
            confirmed=(many[0], many[1]),
            quality=(right[0] / many[0], right[1] / many[1]),
        ),
    )


def test_every_confirmed_answer_is_counted_once(story, facts):
    windows = story.given()["windows"]
    assert sum(p.confirmed for p in facts.quality) == sum(w.window.confirmed for w in windows)
    half = (facts.ended - facts.began) / STRETCHES / 2
    times = {(w.labels["site"], w.window.version, w.received) for w in windows}
    for point in facts.quality:
        near = [t for *of, t in times if of == [point.group, point.version]]
        assert min(abs(t - point.time) for t in near) <= half
    assert sum(p.quality for p in facts.quality) == sum(w.window.quality for w in windows)


def test_bytes_are_told_by_release_with_what_a_device_already_had(story, facts):
    told = {one.version: one for one in facts.sent if one.device == "cam-5"}
    sizes = {version: story.blobs(version) for version in (1, 2, 3)}
    assert (told[1].bytes, told[1].fetched, told[1].had) == (sum(sizes[1].values()), 4, 0)
    fresh = {digest: size for digest, size in sizes[2].items() if digest not in sizes[1]}
    assert (told[2].bytes, told[2].fetched, told[2].had) == (sum(fresh.values()), 3, 1)
    assert told[2].own == 3
    assert told[None].bytes == 3 * 4_200


def test_only_the_canary_fetched_what_only_the_bad_release_has(facts):
    assert [one.device for one in facts.sent if one.version == 2 and one.own] == ["cam-5"]


def test_a_blob_that_is_fetched_again_counts_for_the_release_that_was_offered_then(story, facts):
    given = story.given()
    shared = next(digest for digest in story.blobs(3) if digest in story.blobs(1))
    line = {"time": START + 205, "device": key("cam-6"), "path": "", "digest": shared}
    with given["blob_log"].open("a") as log:
        log.write(json.dumps({**line, "offset": 0, "bytes": 700, "status": 206}) + "\n")
    more = collect(story.loop, story.store, **given)
    before, after = (
        next(one for one in some.sent if (one.device, one.version) == ("cam-6", 3))
        for some in (facts, more)
    )
    assert (after.bytes, after.fetched) == (before.bytes + 700, before.fetched + 1)
    assert (before.had, after.had) == (1, 0)
    assert after.own == before.own


def test_a_cut_off_line_of_the_blob_log_is_counted_and_told(story):
    given = story.given()
    with given["blob_log"].open("a") as log:
        log.write('{"time": 17000')
    facts = collect(story.loop, story.store, **given)
    assert facts.unread == 1
    assert "1 line of the log could not be read." in render(facts)


def test_a_blob_log_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError) as caught:
        read_blob_log(tmp_path / "none.jsonl")
    path = tmp_path / "none.jsonl"
    said = f"[E110] blob log {path} must be readable, got No such file or directory"
    assert str(caught.value) == said


def test_another_loops_rollouts_and_windows_are_left_out(story):
    given = story.given()
    stranger = given["rollouts"][0].model_copy(update={"name": "other", "id": 9})
    window = given["windows"][0]
    foreign = window.window.model_copy(update={"bundle": "sha256:" + "9" * 64})
    given["rollouts"] = [*given["rollouts"], stranger]
    given["windows"] = [*given["windows"], window.model_copy(update={"window": foreign})]
    facts = collect(story.loop, story.store, **given)
    assert [one.id for one in facts.rollouts] == [1, 2, 3]
    assert sum(p.confirmed for p in facts.quality) == 40 * (len(given["windows"]) - 1)


def test_trainings_name_the_releases_that_came_of_them(facts):
    told = [(one.plugin, one.fine_tuned, one.releases) for one in facts.trainings]
    assert told == [
        ("image_classifier.v1", False, (1, 2, 3)),
        ("image_classifier.v1", True, (3,)),
    ]


def test_a_training_is_not_that_of_a_release_which_was_only_compared_with_its_own(tmp_path):
    story = Story(tmp_path)
    data = story.snapshot("source/builtin.v1", 100)
    for version in (1, 2):
        model = story.model("recipe/image_classifier.v1", (data,), 100)
        before = story.bundles.get(version - 1)
        story.bundle(version, model, before, story.findings(model, before, 0.97, 100, 1.0), {})
    facts = collect(story.loop, story.store)
    assert [one.releases for one in facts.trainings] == [(1,), (2,)]


def test_a_first_release_declares_no_disagreement(facts, page):
    told = {one.version: one.declared for one in facts.releases}
    assert [(one.profile, one.disagreement) for one in told[1]] == [("clean", None)]
    assert [(one.profile, one.disagreement) for one in told[3]] == [
        ("clean", 0.018),
        ("field:south", 0.31),
    ]
    assert "nothing before it" in page
    assert "31.0 %" in page


def test_the_lineage_has_the_checks_of_a_release_as_one_box(facts):
    told = Counter(node.title for node in facts.lineage)
    assert told["6 checks"] == told["7 checks"] == told["release 1"] == told["release 3"] == 1
    assert "release 2" not in told
    known = {node.id for node in facts.lineage}
    assert all(parent in known for node in facts.lineage for parent in node.parents)


def test_every_arrow_of_a_placed_graph_runs_down_and_no_boxes_overlap(facts):
    placed = graph.place(graph.reduced({node.id: node.parents for node in facts.lineage}))
    for arrow in placed.arrows:
        levels = [y for _, y in arrow]
        assert levels == list(range(int(levels[0]), int(levels[-1]) + 1))
        assert len(levels) > 1
    boxes = sorted(placed.boxes.values(), key=lambda at: (at[1], at[0]))
    for (x, y), (next_x, next_y) in itertools.pairwise(boxes):
        assert y != next_y or next_x - x >= 1


def test_an_arrow_that_follows_from_others_is_left_out():
    parents = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("a", "c")}
    assert graph.reduced(parents) == {"a": (), "b": ("a",), "c": ("b",), "d": ("c",)}


@pytest.mark.parametrize(
    ("written", "unit", "number"),
    [
        (">= 0.96", "", 0.96),
        ("<= 300 kB", "bytes", 300_000),
        ("<= 300000 bytes", "bytes", 300_000),
        ("<= 5 ms", "ms", 5),
        ("<= 0.5 s", "ms", 500),
        ("<= 5 %", "", 0.05),
        (">= -0.5", "", -0.5),
        ("", "", None),
    ],
)
def test_a_written_limit_becomes_a_number_in_the_values_unit(written, unit, number):
    assert bound(written, unit) == pytest.approx(number)


def test_a_check_that_did_not_measure_says_why():
    line = CheckLine(
        check="latency_p95",
        verdict="not measured",
        value=None,
        unit="ms",
        limit="<= 5 ms",
        bound=5.0,
        interval=None,
        reason="the machine was too busy",
    )
    assert measured(line) == "the machine was too busy"
    assert limit(line) == "<= 5 ms"


def test_times_are_told_in_the_unit_that_fits():
    assert [clock(s) for s in (125, 3 * 3600 + 600, 52 * 3600)] == ["2:05", "3:10 h", "2 d 4 h"]


def test_a_large_fleet_shows_the_devices_that_failed(facts):
    quiet = tuple(
        dataclasses.replace(facts.lanes[0], name=f"quiet-{n:03}", marks=()) for n in range(90)
    )
    failed = next(lane for lane in facts.lanes if lane.marks)
    page = render(dataclasses.replace(facts, lanes=(*quiet, failed)))
    assert "51 quieter devices are not drawn." in page
    picture = re.search(r"<svg[^>]*title-timeline.*?</svg>", page, flags=re.DOTALL)
    assert f">{failed.name}</text>" in picture[0]


def test_a_device_that_never_reported_has_an_empty_lane(facts):
    silent = Lane(name="silent", group="north", spans=(), marks=())
    assert "silent" in render(dataclasses.replace(facts, lanes=(*facts.lanes, silent)))


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_a_missing_library_is_named_with_what_to_install(library, facts, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError) as caught:
        render(facts)
    what = "write" if library == "jinja2" else "draw"
    said = f"[E701] {library} must be installed to {what} a report"
    assert str(caught.value) == f"{said}. pip install 'edgeloop[report]'"


def test_the_command_writes_the_file_and_tells_where(loop_path, tmp_path):
    app = typer.Typer()
    add_to(app)
    output = tmp_path / "deep" / "report.html"
    told = CliRunner().invoke(
        app, ["--loop", str(loop_path), "-o", str(output), "--format", "json"], env={}
    )
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == {"devices": 0, "releases": 0, "report": str(output)}
    assert output.read_text().startswith("<!DOCTYPE html>")


def test_a_closing_figure_that_begins_with_a_verdict_shows_it_apart(facts):
    page = render(
        facts, {"counts add up": "yes: 8 devices", "south got better": "no", "time": "9 s"}
    )
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page[page.index('id="closing"') :])
    assert cells == [
        "counts add up",
        '<span class="good">yes</span>',
        "8 devices",
        "south got better",
        '<span class="bad">no</span>',
        "",
        "time",
        "9 s",
        "",
    ]


def test_facts_without_anything_are_a_page(facts):
    nothing = Facts(name="x", channel="stable", limit=0.25, features=2)
    assert render(nothing).count("<section") == render(facts).count("<section")
