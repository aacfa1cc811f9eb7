"""The signed list: only what is signed, listed and fresh is believed."""

import json
import time
from pathlib import Path

import pytest
from tests.release.shelf import PLAN, device, publish

from edgeloop.errors import (
    GateError,
    KeyFileError,
    NotListedError,
    OverrideError,
    SignatureError,
    StaleMetadataError,
)
from edgeloop.release import keys
from edgeloop.release.repository import Repository, read_list
from edgeloop.release.roles import Roles
from edgeloop.testing.clock import FakeClock


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository", tmp_path / "keys")
    made.create(("stable",))
    return made


def test_a_published_bundle_reaches_a_device_with_its_plan_and_manifest(repository, tmp_path):
    publish(repository, b"one")
    channel = device(repository, tmp_path / "device")
    (line,) = channel.refresh().releases
    assert (line.version, line.plan, channel.manifest(line)) == (1, PLAN, b"one")


def test_publishing_twice_is_one_release_and_versions_are_never_used_again(repository):
    assert [publish(repository, b"one"), publish(repository, b"one")] == [1, 1]
    assert publish(repository, b"two") == 2
    repository.delist("sorter", "stable", 2)
    assert publish(repository, b"three") == 3
    with pytest.raises(GateError) as raised:
        publish(repository, b"two")
    assert str(raised.value).startswith("[E300] bundle sha256:")
    assert str(raised.value).endswith(
        " must not have been delisted, got it was release 2 of stable/sorter."
        " Change the loop: the same bundle is never released again"
    )
    assert [line.version for line in read_list(repository.folder, "sorter", "stable").releases] == [
        1,
        3,
    ]


def test_creating_again_changes_nothing(repository):
    before = {p: p.read_bytes() for p in repository.folder.rglob("*.json")}
    repository.create(("stable",))
    assert {p: p.read_bytes() for p in repository.folder.rglob("*.json")} == before


def test_a_key_that_devices_do_not_trust_signs_nothing(repository, tmp_path):
    publish(repository, b"one")
    before = {p: p.read_bytes() for p in (repository.folder / "metadata").iterdir()}
    Repository(tmp_path / "other", tmp_path / "foreign").create(("stable",))
    (tmp_path / "foreign" / "stable.pem").replace(repository.keys / "stable.pem")
    with pytest.raises(KeyFileError) as raised:
        publish(repository, b"two")
    message = f"[E405] key file {repository.keys / 'stable'}.pem must be the key that devices trust"
    assert str(raised.value).startswith(message)
    assert {p: p.read_bytes() for p in (repository.folder / "metadata").iterdir()} == before
    assert [line.version for line in device(repository, tmp_path / "d").refresh().releases] == [1]


def test_a_list_signed_by_another_key_is_refused(repository, tmp_path, monkeypatch):
    publish(repository, b"one")
    thief = Repository(repository.folder, tmp_path / "stolen")
    other = Repository(tmp_path / "other", tmp_path / "stolen")
    other.create(("stable",))
    monkeypatch.setattr(Roles, "signer", lambda r, role: keys.signer(r.keys, role))  # a thief's own
    publish(thief, b"evil")
    with pytest.raises(SignatureError) as raised:
        device(repository, tmp_path / "device").refresh()
    assert str(raised.value) == (
        "[E401] signed metadata of channel 'stable' must be whole and signed by trusted keys, got"
        " timestamp was signed by 0/1 keys. The device keeps the release it has"
    )


def test_a_changed_byte_of_a_manifest_is_refused(repository, tmp_path):
    publish(repository, b"one")
    (manifest,) = (repository.folder / "targets" / "stable").glob("*._sorter.1.json")
    manifest.write_bytes(b"onE")
    channel = device(repository, tmp_path / "device")
    (line,) = channel.refresh().releases
    with pytest.raises(
        SignatureError, match=r"^\[E401\] signed metadata of channel 'stable' must be whole"
    ):
        channel.manifest(line)


def test_older_metadata_than_was_seen_is_refused(repository, tmp_path):
    publish(repository, b"one")
    old = (repository.folder / "metadata" / "timestamp.json").read_bytes()
    publish(repository, b"two")
    channel = device(repository, tmp_path / "device")
    channel.refresh()
    (repository.folder / "metadata" / "timestamp.json").write_bytes(old)
    with pytest.raises(StaleMetadataError) as raised:
        channel.refresh()
    assert str(raised.value) == (
        "[E402] signed metadata of channel 'stable' must not be older than what was seen, got"
        " New timestamp version 2 must be >= 3. The device keeps the release it has"
    )


def test_expired_metadata_is_refused(tmp_path):
    repository = Repository(tmp_path / "repository", tmp_path / "keys", FakeClock(1_000_000_000))
    repository.create(("stable",))
    with pytest.raises(
        StaleMetadataError,
        match=r"^\[E402\] signed metadata of channel 'stable' must not be expired",
    ):
        device(repository, tmp_path / "device").refresh()


def test_a_model_that_the_channel_does_not_list_is_said(repository, tmp_path):
    with pytest.raises(NotListedError) as raised:
        device(repository, tmp_path / "device").refresh()
    assert str(raised.value) == "[E403] target stable/sorter.json must be on the signed list"


def test_delisting_what_is_not_listed_names_what_is(repository):
    publish(repository, b"one")
    with pytest.raises(NotListedError) as raised:
        repository.delist("sorter", "stable", 9)
    assert str(raised.value) == (
        "[E403] release 9 of stable/sorter must be on the channel's list, got versions 1"
    )


def test_the_floor_reaches_the_device(repository, tmp_path):
    publish(repository, b"one")
    publish(repository, b"two")
    repository.set_floor("sorter", "stable", 2)
    assert device(repository, tmp_path / "device").refresh().floor == 2


def test_a_key_that_others_may_read_is_not_used(repository):
    key = repository.keys / "timestamp.pem"
    key.chmod(0o644)
    with pytest.raises(KeyFileError) as raised:
        publish(repository, b"one")
    assert str(raised.value) == (
        f"[E405] key file {key} must be readable by its owner alone (mode 0600), got mode 0644."
        f" If nobody else can have read it: chmod 600 {key}; otherwise make a new key"
    )


def test_a_missing_key_is_named(repository):
    (repository.keys / "stable.pem").unlink()
    with pytest.raises(KeyFileError) as raised:
        publish(repository, b"one")
    assert str(raised.value) == (
        f"[E405] key file {repository.keys / 'stable.pem'} must be there."
        " Put it back, or run `edgeloop release keys rotate stable`"
    )
    assert read_list(repository.folder, "sorter", "stable").releases == ()


def test_a_publication_that_was_cut_before_the_timestamp_is_not_seen_and_can_be_repeated(
    repository, tmp_path, monkeypatch
):
    publish(repository, b"one")
    write = Roles.write

    def cut(self: Roles, path: Path, data: bytes) -> None:
        if path.name == "timestamp.json":
            raise KeyboardInterrupt
        write(self, path, data)

    monkeypatch.setattr(Roles, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        publish(repository, b"two")
    monkeypatch.undo()
    channel = device(repository, tmp_path / "device")
    assert [line.version for line in channel.refresh().releases] == [1]
    assert publish(repository, b"two") == 2
    assert [line.version for line in channel.refresh().releases] == [1, 2]


def test_the_list_is_plain_json_that_other_tools_can_read(repository):
    publish(repository, b"one")
    (path,) = (repository.folder / "targets" / "stable").glob("*.sorter.json")
    assert json.loads(path.read_bytes())["releases"][0]["version"] == 1


def test_refresh_signs_every_role_anew_before_any_expires(tmp_path):
    clock = FakeClock(time.time() - 80 * 86400)
    repository = Repository(tmp_path / "repository", tmp_path / "keys", clock)
    repository.create(("stable",))
    publish(repository, b"one")
    channel = device(repository, tmp_path / "device")
    with pytest.raises(StaleMetadataError):
        channel.refresh()
    clock.sleep(80 * 86400)
    assert repository.refresh() == ["root", "snapshot", "stable", "targets", "timestamp"]
    assert [line.version for line in channel.refresh().releases] == [1]


def test_a_channel_is_added_later_and_the_first_one_stays(repository, tmp_path):
    publish(repository, b"one")
    repository.create(("stable", "beta"))
    other = repository.publish(b"two", name="sorter", channel="beta", plan=PLAN)
    assert other.version == 1
    assert [line.version for line in device(repository, tmp_path / "d").refresh().releases] == [1]
    assert repository.listing("sorter", "beta").find(other.digest) is not None


def test_a_channel_that_is_added_makes_no_key_in_the_place_of_one_that_is_kept_offline(repository):
    (repository.keys / "root.pem").unlink()
    repository.create(("stable", "beta"))
    assert not (repository.keys / "root.pem").exists()


@pytest.mark.parametrize("name", ["timestamp", "model-signing"])
def test_a_channel_does_not_take_the_name_of_another_key(repository, name):
    with pytest.raises(OverrideError) as raised:
        repository.create((name,))
    assert str(raised.value) == (
        f"[E103] channel '{name}' must not be one of root, targets, snapshot, timestamp,"
        " model-signing. Other keys have these names"
    )


def test_a_model_whose_name_looks_like_a_version_is_another_model(repository, tmp_path):
    publish(repository, b"one")
    repository.publish(b"two", name="sorter.1", channel="stable", plan=PLAN)
    channel = device(repository, tmp_path / "device")
    (line,) = channel.refresh().releases
    assert channel.manifest(line) == b"one"


def test_a_publication_cut_before_its_snapshot_does_not_come_with_the_next_one(
    repository, tmp_path, monkeypatch
):
    publish(repository, b"one")
    write = Roles.write

    def cut(self: Roles, path: Path, data: bytes) -> None:
        if path.name.endswith(".snapshot.json"):
            raise KeyboardInterrupt
        write(self, path, data)

    monkeypatch.setattr(Roles, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        publish(repository, b"two")
    monkeypatch.undo()
    repository.publish(b"three", name="other", channel="stable", plan=PLAN)
    channel = device(repository, tmp_path / "device")
    assert [line.version for line in channel.refresh().releases] == [1]
