"""Toys for every test that runs a loop."""

import importlib
import sys
from pathlib import Path

import pytest
from tests.toy import PLUGINS, write_toys


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy plugins, importable and registered."""
    folder = tmp_path_factory.mktemp("toys")
    write_toys(folder)
    sys.path.insert(0, str(folder))
    for name in PLUGINS:
        importlib.import_module(name)
    return folder


@pytest.fixture
def loop_path(toys: Path, tmp_path: Path) -> Path:
    """A loop file in a folder of its own."""
    path = tmp_path / "loop.yaml"
    path.write_bytes((toys / "loop.yaml").read_bytes())
    return path
