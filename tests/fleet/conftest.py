"""The fixture that gives each test its own control plane."""

from pathlib import Path

import pytest
from fleet_bench import Bench

from edgeloop.testing.clock import FakeClock


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "fleet", FakeClock())
