"""Fragments become a section of the changelog, and a wrongly named one stops that."""

import subprocess
import sys

import pytest
from pages import DOCS, ROOT

sys.path.insert(0, str(DOCS))
from changelog import TRUSTED_TIME, fragments, released, section


def test_a_release_has_its_changes_by_kind(tmp_path):
    (tmp_path / "README.md").write_text("not a fragment")
    (tmp_path / "one.fixed.md").write_text("A fault is\nmended.\n")
    (tmp_path / "two.added.md").write_text("A thing is new.\n")
    assert section("0.2.0", "2027-01-01", fragments(tmp_path)) == (
        "## 0.2.0 (2027-01-01)\n\n### Added\n\n- A thing is new.\n\n"
        "### Fixed\n\n- A fault is mended.\n"
    )


def test_a_fragment_of_no_known_kind_is_refused(tmp_path):
    (tmp_path / "one.improved.md").write_text("Better.")
    with pytest.raises(SystemExit) as caught:
        fragments(tmp_path)
    assert str(caught.value) == (
        "changelog.d: one.improved.md must be named <short-name>.<kind>.md"
    )


def test_every_fragment_here_could_be_released():
    assert fragments(ROOT / "changelog.d")


def test_the_program_says_how_it_is_used():
    line = [sys.executable, str(DOCS / "changelog.py"), "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "version date" in done.stdout


def test_the_day_of_a_release_is_the_earliest_that_devices_take_it_to_be():
    text = released(TRUSTED_TIME.read_text(), "2031-02-03")
    assert 'RELEASED = "2031-02-03"  # written anew' in text
    assert text.count("2031") == 1
