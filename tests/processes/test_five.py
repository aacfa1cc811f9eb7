"""Five unlike models, each through a whole turn of the loop with real processes, by one command."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.five

ROOT = Path(__file__).parents[2]
TURN = ROOT / "examples" / "five" / "turn.py"
EXAMPLES = ("detector", "forecast", "income", "spam", pytest.param("llm", marks=pytest.mark.llm))
PATIENCE, LONGEST = 600, 1500.0  # seconds of one part and of a turn, which takes minutes


def test_every_example_with_a_bad_release_is_played_here():
    played = {getattr(one, "values", (one,))[0] for one in EXAMPLES}
    assert played == {path.parent.name for path in TURN.parents[1].glob("*/bad.yaml")}


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_bad_release_comes_back_and_a_good_one_that_answers_differently_goes_out(
    example, tmp_path
):
    line = [sys.executable, TURN, example, "--work", tmp_path / "turn", "--patience", PATIENCE]
    done = subprocess.run(
        [str(part) for part in line],
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" yes ") == 4
