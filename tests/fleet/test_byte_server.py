"""Bytes: by digest, resumable, nothing outside the folders, each request in the log."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fleet_bench import Bench, Device, message

HEX = "ab" * 32
CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def served(bench: Bench) -> Bench:
    blobs = bench.folder / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / HEX).write_bytes(CONTENT)
    (blobs / "notes").write_text("not a blob")
    metadata = bench.folder / "repository" / "metadata"
    metadata.mkdir(parents=True)
    (metadata / "timestamp.json").write_text("{}")
    (bench.folder / "repository" / ".lock").write_text("hidden")
    (metadata / "link.json").symlink_to(bench.folder / "operator.token")
    return bench


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
    assert served.http.get("/tuf/metadata/timestamp.json").content == b"{}"
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
