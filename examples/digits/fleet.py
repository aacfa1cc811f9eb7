"""The demo's fleet: eight devices in two groups, with the control plane and watcher of a loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeloop.fleet.client import FleetClient
from edgeloop.testing import processes

HERE = Path(__file__).parent
SITES = ("north", "south")
DEVICES = tuple(f"{site}-{number}" for site in SITES for number in (1, 2, 3, 4))
WINDOW = 60  # answers in a window of signals: three seconds of a camera


@contextmanager
def devices(work: Path, fleet: FleetClient) -> Iterator[None]:
    """Enrol the devices that are new, and run all of them."""
    lines = {}
    for seed, name in enumerate(DEVICES):
        site = name.partition("-")[0]
        processes.enrolled(
            work, fleet, name, site=site, model="sorter", opt_in=site == "south",
            window_answers=WINDOW, window_seconds=5.0, report_seconds=2.0,
        )  # fmt: skip
        lines[name] = [HERE / "device.py", "--world", work / "world.npz", "--seed", seed]
    with processes.devices(work, lines):
        yield
