"""All that a device needs to enrol comes in one file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgeloop.agent.invitation import Invitation, read, told, write
from edgeloop.errors import EnrolmentError

INVITED = Invitation(server="https://f.example", token="t", model="sorter", root="{}", ca="PEM")
NOTHING = {"server": "", "token": "", "model": "", "channel": ""}


def test_an_invitation_is_all_that_is_needed_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "d1.json"
    write(INVITED, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert told(path, root=None, ca=None, **NOTHING) == {
        "server": "https://f.example",
        "token": "t",
        "model": "sorter",
        "channel": "stable",
        "root": b"{}",
        "ca": "PEM",
    }


def test_what_a_person_says_goes_before_the_invitation(tmp_path: Path) -> None:
    path = tmp_path / "d1.json"
    write(INVITED, path)
    root = tmp_path / "2.root.json"
    root.write_text("[]")
    said = told(path, root=root, ca=None, **{**NOTHING, "server": "https://other.example"})
    assert (said["server"], said["root"], said["token"]) == ("https://other.example", b"[]", "t")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnrolmentError) as caught:
        told(None, root=None, ca=None, **{**NOTHING, "server": "https://f.example"})
    assert str(caught.value) == (
        "[E506] what a device is told must be whole, got no --token, --model, --root. "
        "Give each, or all in one file with --invitation"
    )


def test_another_file_is_no_invitation_and_no_token_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "d1.json"
    path.write_text('{"format": 2, "token": "secret"}')
    with pytest.raises(EnrolmentError) as caught:
        read(path)
    assert str(caught.value) == (
        f"[E506] invitation {path} must be what `fleet token` wrote, got format: "
        "Input should be 1. Make one with `edgeloop fleet token --invitation`"
    )
    with pytest.raises(EnrolmentError) as caught:
        read(tmp_path / "none.json")
    assert str(caught.value) == (
        f"[E506] invitation {tmp_path / 'none.json'} must be a readable file, "
        "got No such file or directory"
    )
    assert "secret" not in repr(INVITED.model_copy(update={"token": "secret"}))
