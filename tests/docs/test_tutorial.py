"""The tutorial's commands do what the tutorial says."""

import re

import pytest
from pages import DOCS, free_port, run

pytestmark = pytest.mark.processes


def test_the_tutorial_leads_to_a_release_that_answers_on_a_device(tmp_path):
    ports = {"8500": str(free_port()), "8181": str(free_port())}
    told = run(DOCS / "tutorial.md", tmp_path, ports)
    assert "(13 of 13 steps ran)" in told
    assert "(0 of 13 steps ran)" in told
    assert int(re.search(r"^(\d+) of 200 are right", told, re.MULTILINE)[1]) > 180
    assert re.search(r"^rollout 1 of stable/sorter 1: finished, 1 SUCCEEDED$", told, re.MULTILINE)
    assert re.search(r"^signed", told, re.MULTILINE)
    assert told.rstrip().endswith("stopped")
