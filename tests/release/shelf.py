"""A repository for tests, and a device that reads it with the real client."""

from collections.abc import Iterator
from pathlib import Path

from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import UnreachableError
from edgeloop.protocol.messages import RolloutPlan
from edgeloop.release.client import Channel
from edgeloop.release.repository import Repository

PLAN = RolloutPlan()


def device(
    repository: Repository, folder: Path, root: bytes | None = None, clock: Clock | None = None
) -> Channel:
    def fetch(url: str, _most: int) -> Iterator[bytes]:
        path = repository.folder / url.removeprefix("http://host/")
        if not path.is_file():
            raise UnreachableError(url, "must be served", got=404)
        yield path.read_bytes()

    return Channel(
        folder,
        root or repository.root(),
        fetch,
        "http://host/metadata",
        "http://host/targets",
        "sorter",
        "stable",
        clock=clock or SystemClock(),
    )


def publish(repository: Repository, content: bytes) -> int:
    return repository.publish(content, name="sorter", channel="stable", plan=PLAN).version
