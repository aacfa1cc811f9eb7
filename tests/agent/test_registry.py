"""A mirror that is the real OCI registry (distribution): Debian's program, not a copy of ours."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from tests.agent.world import Factory

from edgeloop.agent.blobs import Blobs
from edgeloop.agent.mirrors import Mirrors
from edgeloop.agent.sources import Server, source
from edgeloop.agent.transport import Pace, Reply, Urllib3Transport
from edgeloop.clock import SystemClock
from edgeloop.errors import UnreachableError
from edgeloop.testing.processes import child
from edgeloop.types import Layer

TOOLS = ("docker-registry", "skopeo")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs Debian's {' and '.join(MISSING)}")
CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True)
class Published:
    """A bundle that lies in a registry."""

    url: str
    layers: tuple[Layer, ...]
    files: dict[str, bytes]  # by digest

    def device(self, folder: Path, repository: str = "acme/models") -> Blobs:
        """One that has this registry alone: its control plane answers nothing."""

        def silent(*_: object) -> Reply:
            raise UnreachableError("control plane", "must answer")

        clock, transport = SystemClock(), Urllib3Transport()
        places = [source(f"oci+{self.url}/{repository}", transport)]
        mirrors = Mirrors(places, Server(name="plane", read=silent), clock, Pace())
        return Blobs(folder, mirrors.read, clock)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    work = tmp_path_factory.mktemp("registry")
    factory = Factory(work)
    artifact = factory.bundle()
    factory.store.layout.tag("newest", artifact.digest)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (work / "config.yml").write_text(CONFIG.format(folder=work / "registry", port=port))
    line = ["docker-registry", "serve", work / "config.yml"]
    with child(line, work / "registry.log"):
        answering(f"http://127.0.0.1:{port}/v2/")
        place = f"docker://127.0.0.1:{port}/acme/models:newest"
        copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false"]
        subprocess.run(
            [*copy, f"oci:{factory.store.folder}:newest", place], check=True, capture_output=True
        )
        files = {
            layer.digest: factory.store.layout.blob(layer.digest).read_bytes()
            for layer in artifact.layers
        }
        yield Published(f"http://127.0.0.1:{port}", artifact.layers, files)


def answering(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib3.request("GET", url, retries=False)
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the registry does not answer")


def test_a_device_fetches_every_file_of_a_bundle_from_a_registry_by_digest(
    published: Published, tmp_path: Path
) -> None:
    blobs = published.device(tmp_path)
    assert len(published.layers) > 2
    for layer in published.layers:
        assert blobs.get(layer).read_bytes() == published.files[layer.digest]


def test_what_was_cut_off_goes_on_from_a_registry_behind_the_bytes_that_came(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = max(published.layers, key=lambda layer: layer.size)
    whole, half = published.files[layer.digest], layer.size // 2
    came: list[tuple[int, int]] = []
    send = Urllib3Transport.send

    def noted(self: Urllib3Transport, *told: Any) -> Reply:
        reply = send(self, *told)
        came.append((reply.status, int(reply.headers["content-length"])))
        return reply

    monkeypatch.setattr(Urllib3Transport, "send", noted)
    blobs = published.device(tmp_path)
    (tmp_path / "partial" / layer.digest.removeprefix("sha256:")).write_bytes(whole[:half])
    assert blobs.get(layer).read_bytes() == whole
    assert came == [(206, layer.size - half)]


def test_a_registry_that_lacks_a_blob_is_left_for_the_control_plane(
    published: Published, tmp_path: Path
) -> None:
    with pytest.raises(UnreachableError) as caught:
        published.device(tmp_path, "acme/others").get(published.layers[0])
    assert str(caught.value) == "[E601] control plane must answer"
