"""Root and targets in the hands of several people: no one alone changes what devices believe."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.release.holding import PASSPHRASE, THREE, People, ngclient
from tests.release.shelf import device, publish

from edgeloop.errors import DraftError, KeyFileError, SignatureError, ThresholdError
from edgeloop.release import draft as drafts
from edgeloop.release import holders, keys
from edgeloop.release.repository import Repository
from edgeloop.release.roles import Roles
from edgeloop.testing.clock import FakeClock


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository", tmp_path / "keys")
    made.create(("stable",))
    publish(made, b"one")
    return made


@pytest.fixture
def people(repository: Repository, tmp_path: Path) -> People:
    return People(repository, tmp_path / "people")


def versions(channel):
    return [line.version for line in channel.refresh().releases]


def held(repository: Repository, role: str) -> dict[str, int]:
    return {line.holder: line.threshold for line in repository.keys_of_roles() if line.role == role}


def files(repository: Repository) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in repository.folder.rglob("*.json")}


def test_a_repository_with_one_key_each_moves_to_two_of_three_and_devices_follow(
    repository, people, tmp_path
):
    root, channel = repository.root(), device(repository, tmp_path / "device")
    assert versions(channel) == [1]
    people.take_over()
    assert held(repository, "root") == held(repository, "targets") == dict.fromkeys(THREE, 2)
    publish(repository, b"two")
    assert versions(channel) == [1, 2]
    assert ngclient(repository, tmp_path / "ng", root) == [2, 2, 3]
    assert ngclient(repository, tmp_path / "new", repository.root()) == [2, 2, 3]
    assert not (repository.keys / "root.pem").exists()
    assert (repository.keys / "root.1.retired").exists()


@pytest.mark.parametrize(
    ("signed", "missing"),
    [
        ((), "root as it is: 0 of 1 signatures"),
        (("anna", "ben"), "root as it is: 0 of 1 signatures"),
        (("root",), "root as it will be: 0 of 2 signatures"),
        (("root", "anna"), "root as it will be: 1 of 2 signatures"),
    ],
)
def test_nothing_is_published_before_enough_of_the_old_and_of_the_new_holders_signed(
    repository, people, signed, missing
):
    before, three = files(repository), people.holding(2, *THREE)
    path = people.draft(root=three, targets=three)
    with pytest.raises(ThresholdError, match=missing):
        people.publish(path, *signed)
    assert files(repository) == before


def test_the_message_says_who_has_signed_and_who_has_not(repository, people):
    people.take_over()
    path = people.draft(root=people.holding(2, "anna", "ben", "dora"))
    number = people.sign(path, "anna").number
    anna, ben, cleo, dora = (
        holders.called(holders.read_public(people.key(name).with_suffix(".pub")))
        for name in (*THREE, "dora")
    )
    with pytest.raises(ThresholdError) as raised:
        people.publish(path)
    assert str(raised.value) == (
        f"[E406] draft {number} must be signed by as many holders as each role asks for, got"
        f" root as it is: 1 of 2 signatures; signed by {anna}; not by {ben}, {cleo};"
        f" root as it will be: 1 of 2 signatures; signed by {anna}; not by {ben}, {dora}."
        " Let them run `edgeloop release keys sign`; nothing was changed"
    )


@pytest.mark.parametrize("lost_or_stolen", THREE)
def test_two_holders_replace_the_third_whose_key_is_lost_or_stolen(
    repository, people, tmp_path, lost_or_stolen
):
    people.take_over()
    root, channel = repository.root(), device(repository, tmp_path / "device")
    assert versions(channel) == [1]
    left = [name for name in THREE if name != lost_or_stolen]
    new = people.holding(2, *left, "dora")
    people.publish(people.draft(root=new, targets=new), *left)
    assert set(held(repository, "root")) == {*left, "dora"}
    publish(repository, b"two")
    assert versions(channel) == [1, 2]
    assert ngclient(repository, tmp_path / "ng", root) == [3, 3, 3]


def test_a_stolen_key_below_the_threshold_publishes_nothing_and_devices_refuse_its_work(
    repository, people, tmp_path, monkeypatch
):
    people.take_over()
    channel = device(repository, tmp_path / "device")
    assert versions(channel) == [1]
    thief = people.holding(1, "mallory")
    path = people.draft(root=thief, targets=thief)
    with pytest.raises(ThresholdError):
        people.publish(path, "anna", "mallory")
    monkeypatch.setattr("edgeloop.release.ceremony._refuse_unsigned", lambda _: None)
    people.publish(path)  # who stole the control plane as well publishes what they like
    with pytest.raises(SignatureError, match="root was signed by 1/2 keys"):
        channel.refresh()


def test_a_stolen_key_counts_no_more_once_its_holder_was_replaced(repository, people):
    people.take_over()
    people.publish(people.draft(root=people.holding(2, "anna", "ben", "dora")), "anna", "ben")
    path = people.draft()
    people.sign(path, "cleo")  # still one of targets' holders
    waiting = [asked for asked in drafts.read(path).asked() if asked.part == "root"]
    assert [len(asked.result.signed) for asked in waiting] == [0, 0]


def test_holders_give_online_roles_and_channels_new_keys_and_add_channels(
    repository, people, tmp_path
):
    people.take_over()
    channel, old = device(repository, tmp_path / "device"), repository.keys_of_roles()
    assert versions(channel) == [1]
    path = people.draft(fresh=("snapshot", "timestamp", "stable"), channels=("beta",))
    assert repository.keys_of_roles() == old  # a draft changes nothing
    publish(repository, b"two")  # nor does it hold up releases
    people.publish(path, "anna", "cleo")
    news = {line.role: line.key for line in repository.keys_of_roles()}
    assert all(news[line.role] != line.key for line in old if line.role not in ("root", "targets"))
    assert {line.file for line in repository.keys_of_roles() if not line.holder} == {"here"}
    publish(repository, b"three")
    assert versions(channel) == [1, 2, 3]
    repository.create(("stable", "beta"))
    assert repository.listing("sorter", "beta").releases == ()


def test_a_year_later_two_holders_let_root_and_targets_live_on(tmp_path):
    clock = FakeClock(1_800_000_000)
    repository = Repository(tmp_path / "repository", tmp_path / "keys", clock)
    repository.create(("stable",))
    publish(repository, b"one")
    people = People(repository, tmp_path / "people")
    people.take_over()
    clock.sleep(364 * 86400)
    (repository.keys / "root.1.retired").rename(repository.keys / "root.pem")
    assert repository.refresh() == ["snapshot", "stable", "timestamp"]
    people.publish(people.draft(), "ben", "cleo")
    clock.sleep(10 * 86400)
    channel = device(repository, tmp_path / "device", clock=clock)
    assert versions(channel) == [1]


@pytest.mark.parametrize("role", ["root", "targets", "timestamp", "stable"])
def test_no_folder_of_keys_signs_alone_what_several_must_sign(repository, people, role):
    people.take_over()
    before = files(repository)
    with pytest.raises(ThresholdError) as raised:
        repository.rotate([role])
    above = "targets" if role in ("targets", "stable") else "root"
    assert str(raised.value) == (
        f"[E406] role {above} must be signed by 2 of 3 holders, got one folder of keys."
        " Draft the change: `edgeloop release keys draft`"
    )
    assert files(repository) == before


def test_holders_sign_copies_that_are_gathered(repository, people):
    people.take_over()
    path = people.draft()
    (copy := people.folder / "copy.draft").write_bytes(path.read_bytes())
    signed = people.sign(path, "anna").with_signatures_of([people.sign(copy, "ben")])
    repository.publish_draft(signed)
    other = people.sign(people.draft(), "anna")
    with pytest.raises(DraftError) as raised:
        other.with_signatures_of([signed])
    assert str(raised.value) == (
        f"[E407] draft {signed.number} must be a copy of draft {other.number}."
        " Publish each draft by itself"
    )


def test_a_draft_that_another_change_overtook_is_refused(repository, people):
    people.take_over()
    first, second = people.draft(), people.draft(channels=("beta",))
    number = people.sign(first, "anna", "ben").number
    people.publish(second, "anna", "ben")
    before = files(repository)
    with pytest.raises(DraftError) as raised:
        people.publish(first)
    assert str(raised.value) == (
        f"[E407] draft {number} must fit the repository, got targets was changed since it was"
        " drafted. Ask for a new one: `edgeloop release keys draft`"
    )
    assert files(repository) == before


@pytest.mark.parametrize("moment", range(6))
def test_a_publication_that_is_killed_can_be_repeated(
    repository, people, tmp_path, monkeypatch, moment
):
    channel = device(repository, tmp_path / "device")
    three = people.holding(2, *THREE)
    path = people.draft(root=three, targets=three, fresh=("snapshot", "timestamp", "stable"))
    people.sign(path, "root", "anna", "ben")
    write, written = Roles.write, []

    def cut(self, place, data):
        if len(written) == moment:
            raise KeyboardInterrupt
        written.append(place)
        write(self, place, data)

    monkeypatch.setattr(Roles, "write", cut)
    if moment < 5:  # channel, targets, snapshot, root, timestamp
        with pytest.raises(KeyboardInterrupt):
            people.publish(path)
    else:
        people.publish(path)
    monkeypatch.undo()
    people.publish(path)
    publish(repository, b"two")
    assert versions(channel) == [1, 2]


def test_a_key_that_a_killed_publication_left_waiting_is_not_lost_by_the_next_draft(
    repository, people, monkeypatch
):
    people.take_over()
    monkeypatch.setattr(keys, "take_over", lambda *_: None)
    people.publish(people.draft(fresh=("stable",)), "anna", "ben")
    monkeypatch.undo()
    waits = (repository.keys / "stable.next.pem").read_bytes()
    people.draft(fresh=("stable",))
    assert (repository.keys / "stable.pem").read_bytes() == waits
    assert publish(repository, b"two") == 2


def test_a_holders_key_opens_with_its_passphrase_alone(people):
    path = people.key("anna")
    assert b"ENCRYPTED" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileError) as raised:
        holders.open_key(path, lambda: b"wrong")
    assert str(raised.value) == f"[E405] key file {path} must open with this passphrase"
    assert holders.open_key(path, lambda: PASSPHRASE).public_key.keyid


def test_a_short_passphrase_is_refused(tmp_path):
    with pytest.raises(KeyFileError) as raised:
        holders.make(tmp_path / "anna.pem", b"12345678901")
    assert str(raised.value) == (
        f"[E405] key file {tmp_path / 'anna.pem'} must be encrypted with a passphrase of 12"
        " characters or more, got 11"
    )
    assert list(tmp_path.iterdir()) == []
