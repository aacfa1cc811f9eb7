"""A whole story, told once for all tests of the report."""

import pytest
from report_story import whole

from edgeloop.loop.report import collect


@pytest.fixture(scope="package")
def story(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="package")
def facts(story):
    return collect(story.loop, story.store, **story.given())
