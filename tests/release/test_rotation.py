"""Keys that are replaced: devices follow the new ones, and believe the old ones no more."""

import shutil

import pytest
from tests.release.shelf import device, publish

from edgeloop.errors import KeyFileError, NotListedError, OverrideError, SignatureError
from edgeloop.release import keys
from edgeloop.release.repository import Repository
from edgeloop.release.roles import KeyLine, Roles
from edgeloop.testing.clock import FakeClock

ALL = ("root", "targets", "snapshot", "timestamp", "stable")


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "repository", tmp_path / "keys")
    made.create(("stable",))
    publish(made, b"one")
    return made


def versions(channel):
    return [line.version for line in channel.refresh().releases]


def key(repository, role):
    return keys.signer(repository.keys, role).public_key.keyid


@pytest.mark.parametrize("role", ALL)
def test_a_device_follows_each_role_to_its_new_key(repository, tmp_path, role):
    channel, old = device(repository, tmp_path / "device"), key(repository, role)
    assert versions(channel) == [1]
    repository.rotate([role])
    assert key(repository, role) != old
    assert publish(repository, b"two") == 2
    assert versions(channel) == [1, 2]
    assert versions(device(repository, tmp_path / "new")) == [1, 2]


def test_a_device_that_slept_follows_root_version_by_version(repository, tmp_path):
    channel = device(repository, tmp_path / "device")
    for _ in range(3):
        repository.rotate(ALL)
    publish(repository, b"two")
    assert versions(channel) == [1, 2]
    trusted = (tmp_path / "device" / "metadata" / "root.json").read_bytes()
    assert trusted == repository.root()
    assert (repository.folder / "metadata" / "4.root.json").exists()


@pytest.mark.parametrize("role", ["timestamp", "stable"])
def test_what_a_thief_signs_with_a_replaced_key_is_refused(repository, tmp_path, monkeypatch, role):
    shutil.copytree(repository.keys, tmp_path / "stolen")
    repository.rotate([role])
    for other in {"snapshot", "timestamp", "stable"} - {role}:
        shutil.copy(repository.keys / f"{other}.pem", tmp_path / "stolen")
    monkeypatch.setattr(Roles, "signer", lambda r, name: keys.signer(r.keys, name))
    publish(Repository(repository.folder, tmp_path / "stolen"), b"evil")
    with pytest.raises(SignatureError) as raised:
        device(repository, tmp_path / "device").refresh()
    assert str(raised.value) == (
        "[E401] signed metadata of channel 'stable' must be whole and signed by trusted keys, got"
        f" {role} was signed by 0/1 keys. The device keeps the release it has"
    )


def test_versions_that_a_thief_counted_far_ahead_are_forgotten_with_the_key(repository, tmp_path):
    channel = device(repository, tmp_path / "device")
    roles = repository._roles
    ahead = roles.load("timestamp")
    ahead.signed.version = 1_000_000
    before = (repository.folder / "metadata" / "timestamp.json").read_bytes()
    roles.save("timestamp", ahead, [roles.signer("timestamp")])
    assert versions(channel) == [1]
    (repository.folder / "metadata" / "timestamp.json").write_bytes(before)
    repository.rotate(["timestamp"])
    assert versions(channel) == [1]


def test_lost_keys_are_replaced_while_root_and_targets_are_there(repository, tmp_path):
    channel = device(repository, tmp_path / "device")
    for role in ("snapshot", "timestamp", "stable"):
        (repository.keys / f"{role}.pem").unlink()
    lines = {line.role: line.file for line in repository.keys_of_roles()}
    assert [role for role, file in lines.items() if file == "not here"] == [
        "snapshot",
        "timestamp",
        "stable",
    ]
    repository.rotate(["snapshot", "timestamp", "stable"])
    assert {line.file for line in repository.keys_of_roles()} == {"here"}
    assert publish(repository, b"two") == 2
    assert versions(channel) == [1, 2]


def test_the_old_key_is_kept_aside_and_never_written_over(repository):
    old = (repository.keys / "stable.pem").read_bytes()
    repository.rotate(["stable"])
    repository.rotate(["stable"])
    assert (repository.keys / "stable.1.retired").read_bytes() == old
    assert (repository.keys / "stable.2.retired").exists()
    assert not (repository.keys / "stable.next.pem").exists()


def test_nothing_changes_when_a_key_that_must_sign_is_missing(repository):
    (repository.keys / "root.pem").unlink()
    before = {p: p.read_bytes() for p in repository.folder.rglob("*.json")}
    with pytest.raises(KeyFileError) as raised:
        repository.rotate(["stable", "timestamp"])
    assert str(raised.value) == (
        f"[E405] key file {repository.keys / 'root.pem'} must be there. Put it back"
    )
    assert {p: p.read_bytes() for p in repository.folder.rglob("*.json")} == before
    assert not list(repository.keys.glob("*.next.pem"))


def test_a_role_that_there_is_not_is_refused(repository):
    with pytest.raises(OverrideError) as raised:
        repository.rotate(["beta"])
    assert str(raised.value) == (
        "[E103] role 'beta' must be one of root, targets, snapshot, timestamp, stable"
    )


@pytest.mark.parametrize("moment", range(5))
def test_a_replacement_that_is_killed_can_be_repeated(repository, tmp_path, monkeypatch, moment):
    channel = device(repository, tmp_path / "device")
    write, written = Roles.write, []

    def cut(self, path, data):
        if len(written) == moment:
            raise KeyboardInterrupt
        written.append(path)
        write(self, path, data)

    monkeypatch.setattr(Roles, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        repository.rotate(ALL)
    monkeypatch.undo()
    repository.rotate(ALL)
    publish(repository, b"two")
    assert versions(channel) == [1, 2]


def test_a_key_that_waits_takes_over_by_itself_after_a_kill(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "take_over", lambda *_: None)
    repository.rotate(["root", "timestamp"])
    with pytest.raises(KeyFileError):
        publish(repository, b"two")
    monkeypatch.undo()
    assert publish(repository, b"two") == 2
    assert versions(device(repository, tmp_path / "device")) == [1, 2]


def test_the_list_of_keys_says_until_when_each_counts(tmp_path):
    repository = Repository(tmp_path / "repository", tmp_path / "keys", FakeClock(1_700_000_000))
    repository.create(("stable",))
    publish(repository, b"one")
    lines = {line.role: line for line in repository.keys_of_roles()}
    assert list(lines) == list(ALL)
    assert lines["stable"] == KeyLine(
        role="stable",
        key=key(repository, "stable"),
        file="here",
        threshold=1,
        version=2,
        expires="2024-02-12",
    )
    Repository(tmp_path / "other", tmp_path / "foreign").create(("stable",))
    shutil.copy(tmp_path / "foreign" / "root.pem", repository.keys)
    assert repository.keys_of_roles()[0].file == "another key"


def test_a_key_that_was_trusted_is_kept_aside_even_if_it_only_waited(repository, monkeypatch):
    monkeypatch.setattr(keys, "take_over", lambda *_: None)
    repository.rotate(["timestamp"])
    waited = (repository.keys / "timestamp.next.pem").read_bytes()
    monkeypatch.undo()
    repository.rotate(["timestamp"])
    assert (repository.keys / "timestamp.2.retired").read_bytes() == waited


def test_where_nothing_is_signed_yet_no_key_is_replaced(tmp_path):
    with pytest.raises(NotListedError) as raised:
        Repository(tmp_path / "repository", tmp_path / "keys").rotate(["stable"])
    assert str(raised.value) == (
        f"[E403] repository {tmp_path / 'repository'} must have signed metadata."
        " Run `edgeloop release keys`"
    )
