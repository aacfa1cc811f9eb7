"""``init --kind``: each kind's loop file is its example's own, and says what it takes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeloop.cli.main import app
from edgeloop.loop.ground import EXTRAS
from edgeloop.loop.start import kinds
from edgeloop.loop.templates import FIRST, INSTALL

EXAMPLES = {
    "boosted_trees": "income",
    "detector": "detector",
    "forecaster": "forecast",
    "language_model": "llm",
    "text_encoder": "spam",
}


def init(folder: Path, kind: str) -> dict[str, str]:
    line = ["init", str(folder), "--kind", kind, "--format", "json"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_there_is_a_loop_file_for_each_kind():
    assert kinds() == sorted([*EXAMPLES, FIRST])


@pytest.mark.parametrize("kind", [FIRST, *EXAMPLES])
def test_the_loop_file_of_each_kind_is_valid(tmp_path, kind):
    told = init(tmp_path, kind)
    valid = CliRunner().invoke(app, ["validate", told["loop"]])
    assert valid.exit_code == 0, valid.output
    assert (tmp_path / "loop.schema.json").exists()


@pytest.mark.parametrize(("kind", "example"), EXAMPLES.items())
def test_the_loop_file_of_a_kind_is_its_examples(tmp_path, kind, example):
    told = init(tmp_path, kind)
    theirs = Path(__file__).parents[2] / "examples" / example / "loop.yaml"
    assert Path(told["loop"]).read_text() == theirs.read_text()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_init_says_what_a_kind_takes_and_doctor_looks_for_it(tmp_path, kind):
    told = init(tmp_path, kind)
    assert told["install"] == INSTALL[kind]
    extra = INSTALL[kind].partition("[demo,")[2].partition("]")[0]
    assert extra in EXTRAS
    text = CliRunner().invoke(app, ["init", str(tmp_path / "new"), "--kind", kind]).stdout
    path = tmp_path / "new" / "loop.yaml"
    assert text.replace("\n", " ").strip() == (
        f"Wrote {path}. It takes: {INSTALL[kind]} Next: edgeloop doctor {path}, edgeloop run {path}"
    )
