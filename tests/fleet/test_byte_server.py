"""Bytes: by digest, resumable, nothing outside the folders, each request in the log."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from fleet_bench import Bench, Device, message, plan

from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release.repository import Repository
from edgeloop.store.manifest import compose, describe
from edgeloop.types import Layer, MadeBy

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HEX = sha256(CONTENT).hexdigest()
SECRET = b"training data"


@pytest.fixture
def served(bench: Bench) -> Bench:
    blobs = bench.folder / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / "notes").write_text("not a blob")
    repository = Repository(bench.folder / "repository", bench.folder / "keys", bench.clock)
    repository.create(("stable",))
    publish(bench, CONTENT)
    keep(bench, SECRET)
    (repository.folder / "notes.json").write_text("hidden")
    (repository.folder / "metadata" / "link.json").symlink_to(bench.folder / "operator.token")
    return bench


def keep(bench: Bench, data: bytes) -> Layer:
    digest = sha256(data).hexdigest()
    (bench.folder / "layout" / "blobs" / "sha256" / digest).write_bytes(data)
    return Layer(name=digest[:8], digest=f"sha256:{digest}", size=len(data))


def publish(bench: Bench, *contents: bytes) -> tuple[bytes, ReleaseRef]:
    """A bundle whose description names the secret as its parent."""
    parent = "sha256:" + sha256(SECRET).hexdigest()
    description = describe("bundle", {}, [parent], MadeBy(plugin="p", key="k" * 64, source=""))
    layers = [keep(bench, content) for content in contents]
    manifest = compose("bundle", keep(bench, description), layers, keep(bench, b"{}"))
    keep(bench, manifest)
    repository = Repository(bench.folder / "repository", bench.folder / "keys", bench.clock)
    return manifest, repository.publish(manifest, name="m", channel="stable", plan=plan())


def status(bench: Bench, data: bytes) -> int:
    reply = bench.http.get(f"/blobs/sha256/{sha256(data).hexdigest()}")
    return int(reply.status_code)


def log(bench: Bench) -> list[Any]:
    path = bench.folder / "blobs.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_blob_comes_whole_and_is_logged(served: Bench) -> None:
    reply = served.http.get(f"/blobs/sha256/{HEX}")
    assert (reply.status_code, reply.content) == (200, CONTENT)
    assert log(served) == [
        {
            "time": served.clock.now(),
            "device": None,
            "path": f"/blobs/sha256/{HEX}",
            "digest": f"sha256:{HEX}",
            "offset": 0,
            "bytes": len(CONTENT),
            "status": 200,
        }
    ]


def test_a_broken_download_is_resumed(served: Bench) -> None:
    reply = served.http.get(f"/blobs/sha256/{HEX}", headers={"Range": "bytes=1000-"})
    assert (reply.status_code, reply.content) == (206, CONTENT[1000:])
    assert reply.headers["content-range"] == f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"
    some = served.http.get(f"/blobs/sha256/{HEX}", headers={"Range": "bytes=5-9"})
    assert (some.content, some.headers["content-length"]) == (CONTENT[5:10], "5")
    assert [(line["offset"], line["bytes"]) for line in log(served)] == [
        (1000, len(CONTENT) - 1000),
        (5, 5),
    ]


def test_a_range_beyond_the_end_is_said(served: Bench) -> None:
    reply = served.http.get(f"/blobs/sha256/{HEX}", headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (reply.status_code, reply.content) == (416, b"")
    assert reply.headers["content-range"] == f"bytes */{len(CONTENT)}"


def test_another_form_of_range_is_refused(served: Bench) -> None:
    reply = served.http.get(f"/blobs/sha256/{HEX}", headers={"Range": "bytes=-5"})
    assert (reply.status_code, message(reply)) == (
        400,
        "[E606] header Range must be bytes=<first>-[<last>], got 'bytes=-5'",
    )


def test_head_gives_the_size_and_sends_nothing(served: Bench) -> None:
    reply = served.http.head(f"/blobs/sha256/{HEX}")
    assert (reply.status_code, reply.headers["content-length"], reply.content) == (
        200,
        str(len(CONTENT)),
        b"",
    )
    assert log(served)[0]["bytes"] == 0


def test_a_signed_request_is_logged_with_its_device(served: Bench) -> None:
    device = served.device("cam-1")
    device.send("GET", f"/blobs/sha256/{HEX}")
    Device(served, "stranger").send("GET", f"/blobs/sha256/{HEX}")
    assert [line["device"] for line in log(served)] == [device.id, None]


def test_metadata_comes_from_the_repository(served: Bench) -> None:
    assert served.http.get("/tuf/metadata/timestamp.json").content == (
        (served.folder / "repository" / "metadata" / "timestamp.json").read_bytes()
    )
    assert (log(served)[0]["path"], log(served)[0]["digest"]) == (
        "/tuf/metadata/timestamp.json",
        None,
    )


@pytest.mark.parametrize(
    "path",
    [
        "/tuf/../operator.token",
        "/tuf/%2e%2e/operator.token",
        "/tuf/metadata/..%2f..%2foperator.token",
        "/tuf//etc/passwd",
        "/tuf/.lock",
        "/tuf/notes.json",
        "/tuf/metadata/link.json",
        "/tuf/metadata",
        "/tuf/",
        "/tuf/metadata/none.json",
        "/blobs/sha256/notes",
        "/blobs/sha256/..%2f..%2foci-layout",
        f"/blobs/sha256/{HEX.upper()}",
        f"/blobs/sha256/{'0' * 64}",
    ],
)
def test_nothing_outside_is_served(served: Bench, path: str) -> None:
    url = served.http.base_url.copy_with(raw_path=path.encode())
    reply = served.http.get(url)
    assert reply.status_code == 404
    assert message(reply).startswith("[E603] ")
    assert log(served) == []


def test_only_blobs_of_signed_releases_are_served(served: Bench) -> None:
    fresh = b"weights of the next release"
    keep(served, fresh)
    assert [status(served, data) for data in (CONTENT, SECRET, fresh)] == [200, 404, 404]
    manifest, release = publish(served, fresh)
    layers = [layer["digest"] for layer in json.loads(manifest)["layers"]]
    assert len(layers) == 2  # the weights and the description, whose parent stays at home
    replies = [served.http.get(f"/blobs/sha256/{one.removeprefix('sha256:')}") for one in layers]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert [status(served, data) for data in (manifest, b"{}", CONTENT)] == [200, 200, 200]
    assert status(served, SECRET) == 404
    repository = Repository(served.folder / "repository", served.folder / "keys", served.clock)
    repository.delist("m", "stable", release.version)
    assert status(served, fresh) == 200  # it was given out with its signature


def test_without_a_repository_no_blob_is_served(bench: Bench) -> None:
    (bench.folder / "layout" / "blobs" / "sha256").mkdir(parents=True)
    keep(bench, CONTENT)
    assert status(bench, CONTENT) == 404
