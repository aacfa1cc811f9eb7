"""The loop file: every fault at once, each with its line, its rule and what was got."""

from pathlib import Path

import pytest
import yaml

from edgeloop.errors import LoopFileError, OverrideError
from edgeloop.loop.file import load_loop
from edgeloop.loop.schema import loop_schema

pytestmark = pytest.mark.usefixtures("toys")


def test_every_fault_is_told_with_line_field_rule_and_value(tmp_path):
    path = tmp_path / "loop.yaml"
    path.write_text(
        "name: 'two words'\n"
        "data:\n"
        "  source: toy\n"
        "  split: {test: 1.5}\n"
        "recipe: {use: toy, sign: heavy, colour: red}\n"
        "passes:\n"
        "  - toy_round: {digits: 2}\n"
        "  - shrink: {}\n"
        "checks:\n"
        "  toy_right: {min: much}\n"
        "rollout: {soak: 3 weeks}\n"
        "surprise: 1\n"
    )
    with pytest.raises(LoopFileError) as raised:
        load_loop(path)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"[E101] {path} has 8 faults:"
    assert lines[1:] == [
        "  line 1: name must match pattern '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$', got 'two words'",
        "  line 4: data.split.test must be less than 1, got 1.5",
        "  line 5: recipe.colour must be a known field: one of overflows, sign, got 'red'",
        "  line 5: recipe.sign must be a valid number, unable to parse string as a number,"
        " got 'heavy'",
        "  line 8: passes.1.shrink must name a pass: one of "
        + ", ".join(_names("pass"))
        + ", got 'shrink'",
        "  line 10: checks.toy_right.min must be a valid number, unable to parse string as a"
        " number, got 'much'",
        "  line 11: rollout.soak must be a number and one of ms, s, min, h, d, like '20 s',"
        " got '3 weeks'",
        "  line 12: surprise must be a known field, got 1",
    ]
    assert raised.value.faults[1] == {
        "line": 4,
        "field": "data.split.test",
        "rule": "must be less than 1",
        "value": 1.5,
    }


def _names(kind: str) -> tuple[str, ...]:
    from edgeloop import plugins

    return plugins.names(kind)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "must be a mapping of sections, got list"),
        ("", "must be a mapping of sections, got NoneType"),
        ("name: [\n", "must be YAML, got while parsing a flow node expected the node content, but"
         " found '<stream end>' in \"<unicode string>\", line 2, column 1: ^"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_mapping_is_said(tmp_path, text, message):
    path = tmp_path / "loop.yaml"
    path.write_text(text)
    with pytest.raises(LoopFileError) as raised:
        load_loop(path)
    assert str(raised.value) == f"[E101] {path} {message}"


def test_a_missing_file_says_what_to_do(tmp_path):
    path = tmp_path / "loop.yaml"
    with pytest.raises(LoopFileError) as raised:
        load_loop(path)
    assert str(raised.value) == (
        f"[E101] {path} must be a file that can be read, got No such file or directory."
        " See `edgeloop init`"
    )


def test_a_pass_with_two_names_is_said(loop_path):
    with pytest.raises(LoopFileError) as raised:
        load_loop(loop_path, ["passes=[{toy_round: {}, other: {}}]"])
    assert str(raised.value) == (
        f"[E101] {loop_path} has 1 fault:\n  line 5: passes.0 must be the name of a pass, or one"
        " name with its parameters, got {'toy_round': {}, 'other': {}}"
    )


def test_a_missing_section_is_one_fault(tmp_path):
    path = tmp_path / "loop.yaml"
    path.write_text("name: toy\nrecipe: {use: toy}\n")
    with pytest.raises(LoopFileError) as raised:
        load_loop(path)
    assert "data must be given" in str(raised.value)


def test_overrides_reach_into_lists_and_new_sections(loop_path):
    loop = load_loop(
        loop_path, ["recipe.sign=2", "passes.0.toy_round.digits=5", "rollout.soak=90 s"]
    )
    assert (loop.recipe.sign, loop.passes[0].digits, loop.settings.rollout.soak) == (2, 5, 90)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("weight", "[E103] override 'weight' must be key=value. For example recipe.epochs=2"),
        ("passes.7.x=1", "[E103] override 'passes.7.x=1' must name a field of a section, got 7"),
        ("name.x=1", "[E103] override 'name.x=1' must name a field of a section, got name.x"),
        ("seed=[", "[E103] override 'seed=[' must have a YAML value, got ["),
    ],
)
def test_an_override_that_does_not_fit_is_said(loop_path, override, message):
    with pytest.raises(OverrideError) as raised:
        load_loop(loop_path, [override])
    assert str(raised.value) == message


def test_the_schema_knows_every_plugin_and_no_other():
    schema = loop_schema()
    assert "toy_right" in schema["properties"]["checks"]["properties"]
    assert schema["properties"]["checks"]["additionalProperties"] is False
    uses = [one["properties"]["use"]["enum"][0] for one in schema["properties"]["recipe"]["anyOf"]]
    assert "toy" in uses


@pytest.mark.parametrize(
    ("params", "fits"), [({}, True), ([{}, {"max": 9}], True), ([], False), ([{"x": 1}], False)]
)
def test_the_schema_takes_a_check_once_or_several_times(params, fits):
    from jsonschema import Draft202012Validator

    content = {"name": "toy", "data": {"source": "toy"}, "recipe": {"use": "toy"}}
    schema = Draft202012Validator(loop_schema())
    assert schema.is_valid({**content, "checks": {"size": params}}) is fits


def test_a_fine_tune_changes_the_recipe_by_the_fields_that_the_trigger_names(loop_path: Path):
    loop = load_loop(loop_path, ["watch.on_drift.recipe.sign=3"])
    assert (loop.recipe.sign, loop.fine_tune.sign) == (1.0, 3.0)


def test_a_trigger_needs_a_recipe_that_can_go_on_from_a_model(tmp_path):
    path = tmp_path / "loop.yaml"
    path.write_text(
        "name: mine\ndata: {source: toy}\nrecipe: {use: onnx_file, file: m.onnx}\n"
        "watch: {on_drift: {samples: 50}}\n"
    )
    with pytest.raises(LoopFileError) as raised:
        load_loop(path)
    assert str(raised.value) == (
        f"[E101] {path} has 1 fault:\n  line 4: watch.on_drift needs a recipe that can go on from a"
        " model (one with 'start' in its needs), got 'onnx_file'"
    )


def test_a_key_that_is_given_twice_is_a_fault_and_drops_no_gate(loop_path):
    loop_path.write_text(loop_path.read_text() + "checks: {}\n")
    with pytest.raises(LoopFileError) as raised:
        load_loop(loop_path)
    assert str(raised.value) == (
        f"[E101] {loop_path} has 1 fault:\n"
        "  line 6: checks must be given once, and is on lines 6 and 8"
    )


def test_a_check_that_stands_several_times_is_named_by_what_tells_its_entries_apart(loop_path):
    several = "[{column: sex, min: 0.5}, {column: race, min: 0.5}]"
    loop = load_loop(loop_path, [f"checks.worst_group={several}", "checks.size=[{max: 9 kB}]"])
    assert [*loop.checks] == ["toy_right", "worst_group.sex", "worst_group.race", "size"]
    strata = load_loop(
        loop_path, ["checks={worst_group: [{column: sex}, {column: sex, stratum: '>50k'}]}"]
    )
    assert [*strata.checks] == ["worst_group", "worst_group.>50k"]


def test_entries_of_a_check_that_nothing_tells_apart_are_a_fault(loop_path):
    with pytest.raises(LoopFileError) as raised:
        load_loop(loop_path, ["checks.toy_right=[{min: 0.5}, {min: 0.5}]"])
    assert str(raised.value) == (
        f"[E101] {loop_path} has 1 fault:\n  line 7: checks.toy_right must list one check or more,"
        " and those with one parameter that no two share, got [{'min': 0.5}, {'min': 0.5}]"
    )
    with pytest.raises(LoopFileError) as raised:
        load_loop(loop_path, ["checks.toy_right=[]"])
    assert str(raised.value).endswith("that no two share, got []")


def test_a_fault_in_one_of_several_entries_is_told_with_its_line(tmp_path):
    path = tmp_path / "loop.yaml"
    path.write_text(
        "name: toy\ndata: {source: toy}\nrecipe: {use: toy}\nchecks:\n  toy_right:\n"
        "    - {min: 0.5}\n    - {min: much}\n"
    )
    with pytest.raises(LoopFileError) as raised:
        load_loop(path)
    assert str(raised.value) == (
        f"[E101] {path} has 1 fault:\n  line 7: checks.toy_right.1.min must be a valid number,"
        " unable to parse string as a number, got 'much'"
    )


def test_a_check_under_two_names_is_a_fault_and_drops_no_gate(loop_path):
    with pytest.raises(LoopFileError) as raised:
        load_loop(loop_path, ["checks={toy_right: {min: 0.9}, toy_right.v1: {min: 0.8}}"])
    assert str(raised.value) == (
        f"[E101] {loop_path} has 1 fault:\n  line 6: checks.toy_right.v1 must be given once:"
        " list its parameters, as [{...}, {...}]"
    )


def test_a_typo_in_the_plan_is_a_fault_although_messages_ignore_unknown_fields(loop_path):
    with pytest.raises(LoopFileError) as raised:
        load_loop(loop_path, ["rollout.probation.answrs=50", "rollout.soak=-4"])
    assert "rollout.probation.answrs must be a known field, got 50" in str(raised.value)
    assert "rollout.soak must be greater than or equal to 0, got -4" in str(raised.value)


def test_every_loop_file_that_we_ship_fits_the_schema():
    from jsonschema import Draft202012Validator

    root = Path(__file__).parents[2]
    loops = [path for path in root.glob("examples/**/*.yaml") if path.name != "study.yaml"]
    shipped = [*loops, *root.glob("src/edgeloop/loop/templates/*.yaml")]
    validator = Draft202012Validator(loop_schema())
    faults = {
        f"{path.name}: {error.json_path} {error.message}"
        for path in shipped
        for error in validator.iter_errors(yaml.safe_load(path.read_text()))
    }
    assert len(shipped) >= 4
    assert faults == set()
