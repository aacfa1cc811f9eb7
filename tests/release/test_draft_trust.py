"""Who drafts or carries a draft may be the attacker: what a holder knows decides, not the draft."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from tests.release.holding import PASSPHRASE, THREE, People, ngclient
from tests.release.shelf import publish
from tuf.api.metadata import Metadata

from edgeloop.errors import DraftError, KeyFileError
from edgeloop.release import draft as drafts
from edgeloop.release import draft_trust, holders
from edgeloop.release.draft import Draft
from edgeloop.release.draft_words import words
from edgeloop.release.repository import Repository
from edgeloop.testing.clock import FakeClock

AGAIN = "Ask for a new one: `edgeloop release keys draft`"


@pytest.fixture
def people(tmp_path: Path) -> People:
    repository = Repository(tmp_path / "repository", tmp_path / "keys")
    repository.create(("stable",))
    publish(repository, b"one")
    return People(repository, tmp_path / "people")


def metadata(people: People, name: str) -> Metadata[Any]:
    return Metadata.from_file(str(people.repository.folder / "metadata" / name))


def signer(people: People, name: str):
    return holders.open_key(people.key(name), lambda: PASSPHRASE)


def called(people: People) -> dict[str, str]:
    keys = people.repository.holders("root")
    return {holders.holder(key): holders.called(key) for key in keys}


def made_up(people: People) -> Path:
    """A draft that lets two keys of the drafter's in, and says that they always were there."""
    following = metadata(people, "2.root.json")
    for key in people.holding(2, "dora", "emil").keys:
        following.signed.add_key(key, "root")
    following.signed.version = 3
    following.signatures.clear()
    now = copy.deepcopy(following)
    now.signed.version = 2
    for name in ("dora", "emil"):
        now.sign(signer(people, name), append=True)
    targets = metadata(people, "2.targets.json")
    path = people.folder / "made-up.draft"
    drafts.save(Draft(now={"root": now, "targets": targets}, next={"root": following}), path)
    return path


def test_a_holder_signs_no_draft_that_begins_at_a_root_which_does_not_follow_from_theirs(people):
    people.take_over()
    path = made_up(people)
    read = drafts.read(path)
    assert "  root: as before, 2 of 5 " in "\n".join(words(read))  # what it would make them believe
    with pytest.raises(DraftError) as raised:
        people.sign(path, "anna")
    assert str(raised.value) == (
        f"[E407] draft {read.number} must begin at the root that you trust, or at one that follows"
        " from it, got version 2, which does not follow from version 1 in"
        f" {people.folder / 'anna.root.json'}."
        " Do not sign it, and ask who made it; --root names another root to trust"
    )
    real = people.repository.folder / "metadata" / "2.root.json"
    with pytest.raises(DraftError, match="which does not follow from version 2 in"):
        draft_trust.look(read, real)


def test_a_holder_who_signed_long_ago_follows_the_roots_that_the_draft_brings(people):
    people.take_over()
    for _ in range(3):
        people.publish(people.draft(), "ben", "cleo")
    path = people.draft()
    read, kept = drafts.read(path), draft_trust.beside(people.key("anna"))
    assert draft_trust.look(read, kept) == f"that root is, or follows from, version 1 in {kept}"
    people.sign(path, "anna")
    assert draft_trust.look(read, kept) == f"that root is, or follows from, version 5 in {kept}"
    gap = Draft(now=read.now, next=read.next, before=read.before[-1:])
    (people.folder / "first").write_bytes(metadata(people, "1.root.json").to_bytes())
    with pytest.raises(DraftError, match="version 5, which does not follow from version 1"):
        draft_trust.look(gap, people.folder / "first")


def test_a_draft_from_before_the_root_that_a_holder_trusts_is_refused(people):
    people.take_over()
    old = people.draft()
    people.publish(people.draft(), "anna", "ben")
    newest = people.repository.folder / "metadata" / "3.root.json"
    with pytest.raises(DraftError, match="version 2, which does not follow from version 3"):
        draft_trust.look(drafts.read(old), newest)


def test_a_root_to_trust_that_is_none_is_named(people):
    read, file = drafts.read(people.draft()), people.folder / "file"
    for data, says in (
        (b"{", "must hold whole root metadata"),
        (metadata(people, "1.targets.json").to_bytes(), "must hold root metadata, got targets"),
    ):
        file.write_bytes(data)
        with pytest.raises(DraftError) as raised:
            draft_trust.look(read, file)
        assert str(raised.value) == f"[E407] root {file} {says}"


def test_a_root_that_cannot_be_kept_is_named(people):
    key = people.folder / "away" / "anna.pem"
    with pytest.raises(DraftError) as raised:
        draft_trust.keep(drafts.read(people.draft()), key)
    assert str(raised.value) == (
        f"[E407] root {key.with_suffix('.root.json')} must be writable, got No such file or"
        " directory. The draft is signed; name a root that you trust with --root the next time"
    )


def test_another_beginning_makes_the_number_another(people):
    people.take_over()
    read = drafts.read(people.draft())
    other = Draft(now={**read.now, "root": metadata(people, "1.root.json")}, next=read.next)
    assert other.number != read.number


def cut(people: People, now: Metadata[Any]) -> Path:
    """A draft whose next root is the one that is published, with a signature of mallory's alone."""
    following = metadata(people, "2.root.json")
    following.signatures.clear()
    following.sign(signer(people, "mallory"))
    targets = metadata(people, "2.targets.json")
    path = people.folder / "cut.draft"
    drafts.save(Draft(now={"root": now, "targets": targets}, next={"root": following}), path)
    return path


def test_who_carries_a_draft_does_not_say_whose_signatures_the_published_root_needed(
    people, tmp_path
):
    first = people.repository.root()
    three, four = people.holding(2, *THREE), people.holding(1, *THREE, "mallory")
    people.publish(people.draft(root=four, targets=three), "root", "anna", "ben")
    forged = metadata(people, "2.root.json")
    forged.signed.version = 1
    forged.signatures.clear()
    forged.sign(signer(people, "mallory"))
    path = cut(people, forged)
    number = drafts.read(path).number
    with pytest.raises(DraftError) as raised:
        people.repository.publish_draft(drafts.read(path))
    assert str(raised.value) == (
        f"[E407] draft {number} must fit the repository, got root was changed since it was"
        f" drafted. {AGAIN}"
    )
    assert ngclient(people.repository, tmp_path / "ng", first) == [2, 2, 2]


def test_a_repetition_takes_no_signature_from_the_published_root(people):
    people.take_over()
    path = people.draft()
    people.publish(path, "anna", "ben")
    before = metadata(people, "3.root.json").signatures
    other = drafts.read(path)
    for part in other.next.values():
        part.signatures.clear()
    for name in ("ben", "cleo"):
        other.sign(signer(people, name))
    people.repository.publish_draft(other)
    assert metadata(people, "3.root.json").signatures == before


def test_a_draft_that_lay_until_it_expired_is_not_published(tmp_path):
    clock = FakeClock(1_800_000_000)
    repository = Repository(tmp_path / "repository", tmp_path / "keys", clock)
    repository.create(("stable",))
    people = People(repository, tmp_path / "people")
    people.take_over()
    path = people.draft()
    number = people.sign(path, "anna", "ben").number
    clock.sleep(365 * 86400)
    with pytest.raises(DraftError) as raised:
        people.publish(path)
    assert str(raised.value) == (
        f"[E407] draft {number} must not be expired, got root that was believed until 2028-01-15."
        f" {AGAIN}"
    )


def test_a_key_that_gets_another_name_is_told(people):
    people.take_over()
    names = called(people)
    read = drafts.read(people.draft())
    keys = {holders.holder(key): key for key in read.next["root"].signed.keys.values()}
    keys["anna"].unrecognized_fields[holders.HOLDER] = "cleo"
    keys["cleo"].unrecognized_fields[holders.HOLDER] = "anna"
    told = "\n".join(words(read))
    assert f"    stays: {names['anna']}, from now on called cleo\n" in told
    assert f"    stays: {names['ben']}\n" in told
    assert f"    stays: {names['cleo']}, from now on called anna\n" in told


def test_two_keys_have_not_one_name(people):
    people.take_over()
    path = people.draft()
    read = drafts.read(path)
    for key in read.next["root"].signed.keys.values():
        if holders.holder(key) == "cleo":
            key.unrecognized_fields[holders.HOLDER] = "Anna"
    drafts.save(read, path)
    with pytest.raises(DraftError) as raised:
        drafts.read(path)
    assert str(raised.value) == (
        f"[E407] draft {path} must be one that holders can sign, got two keys whose holders are"
        f" both called 'anna'. {AGAIN}"
    )


def test_a_key_is_told_with_as_many_digits_as_nobody_can_imitate(people):
    (key,) = people.holding(1, "anna").keys
    digits = holders.called(key).removeprefix("anna (key ").removesuffix(")")
    assert digits.replace(" ", "") == key.keyid[:32]


def test_no_half_of_a_key_is_written_where_the_other_half_cannot_be(tmp_path):
    (tmp_path / "anna.pub").write_text("old")
    with pytest.raises(KeyFileError) as raised:
        holders.make(tmp_path / "anna.pem", PASSPHRASE)
    assert str(raised.value) == (
        f"[E405] key file {tmp_path / 'anna.pub'} must not be there yet. A key is never overwritten"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["anna.pub"]
