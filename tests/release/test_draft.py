"""A draft comes from a stick: whatever was done to it, nobody signs more than is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.release.holding import PASSPHRASE, THREE, People
from tests.release.shelf import publish
from tuf.api.metadata import Key, Metadata

from edgeloop.errors import DraftError, KeyFileError, OverrideError, ThresholdError
from edgeloop.release import draft as drafts
from edgeloop.release import holders
from edgeloop.release.draft_words import words
from edgeloop.release.repository import Repository
from edgeloop.testing.clock import FakeClock

AGAIN = "Ask for a new one: `edgeloop release keys draft`"


@pytest.fixture
def people(tmp_path: Path) -> People:
    repository = Repository(tmp_path / "repository", tmp_path / "keys")
    repository.create(("stable",))
    publish(repository, b"one")
    made = People(repository, tmp_path / "people")
    made.take_over()
    return made


def refused(path: Path) -> str:
    with pytest.raises(DraftError) as raised:
        drafts.read(path)
    return str(raised.value)


def test_a_draft_says_in_words_what_changes_and_who_is_to_sign(people):
    path = people.draft(root=people.holding(2, "anna", "ben", "dora"), channels=("beta",))
    read = people.sign(path, "anna")
    lines = "\n".join(words(read))
    names = {
        holders.called(key).split()[0]: holders.called(key)
        for key in people.holding(1, *THREE, "dora").keys
    }
    anna, ben, cleo, dora = (names[name] for name in (*THREE, "dora"))
    assert (
        "  root: 2 of 3 must sign, before: 2 of 3\n"
        f"    stays: {anna}\n    stays: {ben}\n    goes: {cleo}\n    comes: {dora}\n"
        f"  targets: as before, 2 of 3 ({anna}, {ben}, {cleo})\n"
    ) in lines
    assert "  channel beta: new, signed by key " in lines
    assert lines.endswith(
        f"root as it is: 1 of 2 signatures; signed by {anna}; not by {ben}, {cleo}\n"
        f"root as it will be: 1 of 2 signatures; signed by {anna}; not by {ben}, {dora}\n"
        f"targets: 1 of 2 signatures; signed by {anna}; not by {ben}, {cleo}"
    )


def test_who_is_not_asked_does_not_sign(people):
    path = people.draft()
    number = drafts.read(path).number
    asked = ", ".join(holders.called(key) for key in people.holding(2, *THREE).keys)
    with pytest.raises(DraftError) as raised:
        people.sign(path, "mallory")
    key = holders.read_public(people.key("mallory").with_suffix(".pub")).keyid[:8]
    assert str(raised.value) == (
        f"[E407] draft {number} must be signed by a key that it asks for, got key {key}."
        f" It asks for {asked}"
    )


def test_what_is_no_plain_file_of_a_drafts_size_is_not_read(people, tmp_path):
    path = people.draft()
    (link := tmp_path / "link").symlink_to(path)
    os.mkfifo(pipe := tmp_path / "pipe")
    (large := tmp_path / "large").write_bytes(b" " * ((1 << 20) + 1))
    (deep := tmp_path / "deep").write_bytes(b"[" * 100_000)
    assert refused(link) == (
        f"[E407] file {link} must be a file, no link, got Too many levels of symbolic links"
    )
    assert refused(pipe) == f"[E407] file {pipe} must be a plain file"
    assert refused(large) == f"[E407] file {large} must have at most 1048576 bytes, got more"
    assert refused(deep) == f"[E407] draft {deep} must be JSON. {AGAIN}"


def root(told: Any) -> Any:
    return told["next"]["root"]["signed"]


def _snapshot(told: Any) -> None:
    told["next"]["snapshot"] = told["next"]["targets"]


def _swapped(told: Any) -> None:
    told["next"]["root"] = told["next"]["targets"]


def _twice(told: Any) -> None:
    """One key under two names counts as two holders."""
    (first, *_) = root(told)["roles"]["root"]["keyids"]
    root(told)["keys"]["0" * 64] = root(told)["keys"][first]
    root(told)["roles"]["root"]["keyids"][1] = "0" * 64


def _name(told: Any) -> None:
    for key in root(told)["keys"].values():
        key["x-edgeloop-holder"] = "anna\x1b[2K\rnobody"


CHANGES: dict[str, tuple[Callable[[Any], None], str]] = {
    "snapshot": (_snapshot, "must change root and targets alone, got role 'snapshot'"),
    "swapped": (_swapped, "must hold root metadata, got targets"),
    "version": (
        lambda told: root(told).update(version=9),
        "must be one that holders can sign, got version 9 of root after 2",
    ),
    "twice": (
        _twice,
        "must be one that holders can sign, got key '00000000' under the name of another",
    ),
    "name": (_name, "must be one that holders can sign, got a holder whose name is none"),
    "threshold": (
        lambda told: root(told)["roles"]["root"].update(threshold=4),
        "must be one that holders can sign, got 'root' with 3 keys, of which 4 must sign",
    ),
    "field": (
        lambda told: root(told).update(more=1),
        "must be one that holders can sign, got root with fields that edgeloop does not write",
    ),
    "files": (
        lambda told: told["next"]["targets"]["signed"]["targets"].update(
            {"stable/sorter.json": {"length": 1, "hashes": {"sha256": "0" * 64}}}
        ),
        "must be one that holders can sign, got files that targets list themselves: channels do"
        " that",
    ),
    "paths": (
        lambda told: told["next"]["targets"]["signed"]["delegations"]["roles"][0].update(
            paths=["*/*"]
        ),
        "must be one that holders can sign, got channel 'stable' with files that are not its own",
    ),
    "unsigned before": (
        lambda told: told["now"]["root"].update(signatures=[]),
        "must be one that holders can sign, got root as it is now without its signatures",
    ),
    "part": (lambda told: told["next"].update(root=7), "must hold whole root metadata"),
    "format": (lambda told: told.update(format=2), "must be a draft of format 1"),
    "nothing": (lambda told: told.update(next={}), "must tell root and targets, and what changes"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_draft_that_asks_for_what_no_draft_may_is_refused(people, name):
    change, says = CHANGES[name]
    path = people.draft()
    told = json.loads(path.read_bytes())
    change(told)
    path.write_text(json.dumps(told))
    assert refused(path) == f"[E407] draft {path} {says}. {AGAIN}"


def places(part: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    keys = range(len(part)) if isinstance(part, list) else part if isinstance(part, dict) else ()
    for key in keys:
        yield from places(part[key], (*at, key))


@pytest.mark.parametrize("value", [None, 7, "x", [], {"a": 1}, float("inf")])
def test_whatever_stands_in_the_place_of_a_value_a_draft_is_read_or_refused(people, value):
    path = people.draft(channels=("beta",))
    whole = people.sign(path, "anna").text()
    for *above, last in list(places(json.loads(whole)))[1:]:
        part = told = json.loads(whole)
        for key in above:
            part = part[key]
        part[last] = value
        path.write_text(json.dumps(told))
        with suppress(DraftError):
            words(drafts.read(path))


def test_signatures_that_do_not_hold_are_dropped_and_count_nothing(people):
    path = people.draft()
    told = json.loads(path.read_bytes())
    keyids = root(told)["roles"]["root"]["keyids"]
    forged = [{"keyid": keyid, "sig": "00" * 64} for keyid in [*keyids, "f" * 64]]
    told["next"]["root"]["signatures"] = forged
    path.write_text(json.dumps(told))
    read = drafts.read(path)
    assert read.next["root"].signatures == {}
    with pytest.raises(ThresholdError):
        people.repository.publish_draft(read)


def test_a_change_after_a_signature_makes_it_void_and_the_number_another(people):
    path = people.draft()
    number = people.sign(path, "anna").number
    told = json.loads(path.read_bytes())
    root(told)["roles"]["root"]["threshold"] = 1
    path.write_text(json.dumps(told))
    read = drafts.read(path)
    assert read.number != number
    assert not any(asked.result.signed for asked in read.asked() if asked.part == "root")


def test_a_drafts_time_may_not_be_of_the_future(people):
    """Devices believe a time that root was signed at to have passed."""
    ahead = Repository(people.repository.folder, people.repository.keys, FakeClock(4e9))
    late, people.repository = people.repository, ahead
    path = people.draft()
    people.repository = late
    number = drafts.read(path).number
    with pytest.raises(DraftError) as raised:
        people.publish(path, "anna", "ben")
    assert str(raised.value) == (
        f"[E407] draft {number} must not be of the future, got one of 2096-10-02T07:06:40Z. {AGAIN}"
    )


def test_a_draft_is_never_written_over_another(people):
    path = people.draft()
    with pytest.raises(DraftError) as raised:
        drafts.begin(drafts.read(path), path)
    assert str(raised.value) == f"[E407] draft {path} must not be there yet. Move it, or say --out"


def test_a_private_key_is_not_taken_for_a_public_half(people):
    path = people.key("anna")
    with pytest.raises(KeyFileError) as raised:
        holders.read_public(path)
    assert str(raised.value) == (
        f"[E405] key file {path} must be the public half (.pub), got a private key."
        " A private key stays with its holder"
    )


@pytest.mark.parametrize(
    "text", ["anna", "2 of", "0 of anna", "4 of anna ben cleo", "2 of ben ben"]
)
def test_holders_are_asked_for_in_one_form(people, text):
    present = people.repository.holders("root")
    with pytest.raises(OverrideError) as raised:
        holders.asked(text, present)
    assert str(raised.value) == (
        f"[E103] holders {text!r} must be such as '2 of anna.pub ben.pub cleo.pub', of 16 at most"
    )
    assert holders.asked("2 of anna cleo", present).threshold == 2


def test_no_draft_has_anything_secret(people):
    text = people.draft().read_text()
    assert "PRIVATE" not in text
    assert PASSPHRASE.decode() not in text


def test_the_holders_name_does_not_change_a_keys_id(people):
    public = holders.read_public(people.key("anna").with_suffix(".pub"))
    signer = holders.open_key(people.key("anna"), lambda: PASSPHRASE)
    assert public.keyid == signer.public_key.keyid
    now = Metadata.from_bytes(people.repository.root()).signed
    kept: Key = now.keys[public.keyid]
    assert holders.holder(kept) == "anna"
