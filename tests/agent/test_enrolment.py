"""A folder becomes a device: what can be looked at first, the one-time token last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.agent.world import SERVER, Factory, Plane

from edgeloop.agent import first_root
from edgeloop.agent.enrolment import enrol
from edgeloop.agent.settings import Settings, labels
from edgeloop.errors import (
    AgentFolderError,
    EdgeloopError,
    EnrolmentError,
    OverrideError,
    ProtocolError,
    SignatureError,
)
from edgeloop.testing.clock import FakeClock

NAME = "(String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$')"
UNSPENT = "Nothing was sent, the token was not spent"
BRING = "Bring the repository's 1.root.json by a trusted way; the token was not spent"


class Enrolling:
    """A person who enrols ``folder``."""

    def __init__(self, folder: Path, factory: Factory, clock: FakeClock) -> None:
        self.folder, self.factory, self.clock = folder, factory, clock
        self.plane = Plane(factory, clock)

    def __call__(self, **told: Any) -> Settings:
        usual = {"server": SERVER, "token": "t", "name": "d2", "model": "sorter"}
        usual |= {"root": self.factory.repository.root(), "transport": self.plane}
        return enrol(self.folder, **{**usual, "clock": self.clock, **told})

    def refused(self, kind: type[EdgeloopError], **told: Any) -> str:
        """The error's text, once it is sure that nobody was asked."""
        with pytest.raises(kind) as caught:
            self(**told)
        assert self.plane.calls == []
        return str(caught.value)


@pytest.fixture
def enrolling(tmp_path: Path, factory: Factory, clock: FakeClock) -> Enrolling:
    return Enrolling(tmp_path / "d2", factory, clock)


def test_enrolling_again_keeps_the_key(enrolling: Enrolling) -> None:
    enrolling()
    key = (enrolling.folder / "device.pem").read_bytes()
    assert enrolling(name="d3").name == "d3"
    assert (enrolling.folder / "device.pem").read_bytes() == key


def test_a_token_is_not_spent_when_the_root_is_not_a_root(enrolling: Enrolling) -> None:
    assert enrolling.refused(SignatureError, root=b"{}") == (
        "[E401] first root metadata must be TUF root metadata, signed by its own keys, "
        f"got Failed to deserialize JSON. {BRING}"
    )
    assert not enrolling.folder.exists()


def test_other_signed_metadata_is_no_root(enrolling: Enrolling) -> None:
    timestamp = enrolling.factory.repository.folder / "metadata" / "timestamp.json"
    assert enrolling.refused(SignatureError, root=timestamp.read_bytes()) == (
        "[E401] first root metadata must be TUF root metadata, signed by its own keys, "
        f"got metadata of type timestamp. {BRING}"
    )


def test_a_root_that_was_changed_is_no_root(enrolling: Enrolling) -> None:
    root = json.loads(enrolling.factory.repository.root())
    root["signed"]["expires"] = "2999-01-01T00:00:00Z"
    assert enrolling.refused(SignatureError, root=json.dumps(root).encode()) == (
        "[E401] first root metadata must be TUF root metadata, signed by its own keys, "
        f"got root was signed by 0/1 keys. {BRING}"
    )


@pytest.mark.parametrize(
    ("told", "got"),
    [
        ({"name": "my device"}, f"name 'my device' {NAME}"),
        ({"target": "a/b"}, f"target 'a/b' {NAME}"),
        (
            {"name": "", "labels": {"site": "a,b"}},
            (f"name '' {NAME}; labels.site 'a,b' (String should match pattern '^[^,=]{{1,128}}$')"),
        ),
        ({"labels": {"my site": "x"}}, f"labels.my site 'my site' {NAME}"),
        (
            {"server": "plane.test"},
            "server 'plane.test' "
            "(String should match pattern '^https?://[^/?#\\s]+(/[^?#\\s]*)?$')",
        ),
        ({"threads": 0}, "threads 0 (Input should be greater than or equal to 1)"),
        ({"token": "s" * 257}, "token (String should have at most 256 characters)"),
    ],
)
def test_what_breaks_a_rule_is_named_before_the_token_is_spent(
    enrolling: Enrolling, told: dict[str, Any], got: str
) -> None:
    assert enrolling.refused(EnrolmentError, **told) == (
        f"[E506] what a device is told must fit its rules, got {got}. {UNSPENT}"
    )


@pytest.mark.parametrize("listen", ["8080", "0.0.0.0:80", "127.0.0.1:65536", "127.0.0.1:http"])
def test_a_token_is_not_spent_when_nobody_could_listen_there(
    enrolling: Enrolling, listen: str
) -> None:
    assert enrolling.refused(ProtocolError, listen=listen) == (
        f"[E606] listen address {listen!r} must be loopback and a port of 0 to 65535, "
        "such as 127.0.0.1:8080"
    )


def test_a_folder_that_cannot_be_written_is_named(enrolling: Enrolling) -> None:
    enrolling.folder.write_text("a file")
    assert enrolling.refused(AgentFolderError) == (
        f"[E504] agent folder {enrolling.folder} must be a folder that can be written, "
        "got File exists"
    )


def test_a_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnrolmentError) as caught:
        first_root.read(tmp_path / "root.json")
    assert str(caught.value) == (
        f"[E506] first root metadata {tmp_path / 'root.json'} must be a readable file, "
        "got No such file or directory"
    )


def test_a_device_that_is_given_an_authority_does_not_ask_by_http(enrolling: Enrolling) -> None:
    assert enrolling.refused(EnrolmentError, ca="PEM") == (
        f"[E506] server {SERVER!r} must be https where an authority is given. {UNSPENT}"
    )
    assert not enrolling.folder.exists()


def test_enrolling_again_without_an_authority_forgets_the_one_before(enrolling: Enrolling) -> None:
    enrolling()
    (enrolling.folder / "ca.pem").write_text("PEM")
    enrolling()
    assert not (enrolling.folder / "ca.pem").exists()


def test_labels_are_pairs() -> None:
    assert labels(["site=south", "note=a=b", "empty="]) == {
        "site": "south",
        "note": "a=b",
        "empty": "",
    }
    for text in ("south", "=south"):
        with pytest.raises(OverrideError) as caught:
            labels([text])
        assert str(caught.value) == f"[E103] --label must be name=value, got {text!r}"
