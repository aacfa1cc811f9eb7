"""The contract page names every answer kind, every method of one, and every program step."""

import re
from pathlib import Path

import pytest

from edgeloop.answers import AnswerKind, boxes
from edgeloop.plugins import KINDS
from edgeloop.runtimes.program import OWN
from edgeloop.runtimes.program.steps import known

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
KIND_FILES = Path(boxes.__file__).parent.glob("*.py")
FIRST_CELLS = set(re.findall(r"^\| `?(\w+)", PAGE, re.MULTILINE))


@pytest.mark.parametrize(
    "named",
    [
        *KINDS,
        *(path.stem for path in KIND_FILES if "@register" in path.read_text()),
        *(name for name in vars(AnswerKind) if not name.startswith("_")),
        *known(),
        *OWN,
    ],
)
def test_every_part_of_the_contract_has_a_line_on_its_page(named):
    assert named in FIRST_CELLS
