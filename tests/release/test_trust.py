"""What a device trusts survives power cuts and wrong clocks, and never goes back."""

import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from tests.release.shelf import PLAN, device, publish

from edgeloop.errors import DiskFullError, StaleMetadataError
from edgeloop.release import seen, trusted_time
from edgeloop.release.repository import Repository
from edgeloop.testing.clock import FakeClock

DAY, YEAR = 86_400.0, 365 * 86_400.0
PARTS = [
    "metadata/root_history/1.root.json",
    "metadata/root_history/2.root.json",
    "metadata/root.json",
    "metadata/timestamp.json",
    "metadata/snapshot.json",
    "metadata/targets.json",
    "metadata/stable.json",
    "targets/stable%2Fsorter.json",
    "seen.json",
]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def repository(tmp_path, clock):
    made = Repository(tmp_path / "repository", tmp_path / "keys", clock)
    made.create(("stable",))
    publish(made, b"one")
    return made


def versions(channel):
    return [line.version for line in channel.refresh().releases]


def refused(channel):
    with pytest.raises(StaleMetadataError) as raised:
        channel.refresh()
    return str(raised.value)


def served(repository):
    """The repository as it is now, to be served again later."""
    kept = repository.folder.with_name("kept")
    shutil.copytree(repository.folder, kept)
    return Repository(kept, repository.keys)


@pytest.mark.parametrize("left", [0, 100], ids=["empty", "torn"])
@pytest.mark.parametrize("part", PARTS)
def test_a_file_that_a_power_cut_broke_is_fetched_again(repository, tmp_path, clock, part, left):
    first = repository.root()
    repository.rotate(["timestamp"])
    assert versions(device(repository, tmp_path / "d", first, clock)) == [1]
    path = tmp_path / "d" / part
    path.write_bytes(path.read_bytes()[:left])
    publish(repository, b"two")
    assert versions(device(repository, tmp_path / "d", first, clock)) == [1, 2]


def test_a_device_that_lost_its_cache_is_not_taken_back(repository, tmp_path, clock):
    old = served(repository)
    publish(repository, b"two")
    device(repository, tmp_path / "d", clock=clock).refresh()
    shutil.rmtree(tmp_path / "d" / "metadata")
    channel = device(old, tmp_path / "d", clock=clock)
    assert refused(channel) == (
        "[E402] signed metadata of channel 'stable' must not be older than what was seen, got"
        " timestamp version 2 after 3. The device keeps the release it has"
    )
    assert versions(device(repository, tmp_path / "d", clock=clock)) == [1, 2]


def test_a_root_that_was_followed_is_never_left_for_an_older_one(repository, tmp_path, clock):
    old, first = served(repository), repository.root()
    repository.rotate(["timestamp", "snapshot"])
    device(repository, tmp_path / "d", first, clock).refresh()
    shutil.rmtree(tmp_path / "d" / "metadata")
    assert "got root version 1 after 2." in refused(device(old, tmp_path / "d", first, clock))


def test_what_is_seen_is_kept_before_the_list_is_given(repository, tmp_path, clock, monkeypatch):
    def full(*_):
        raise DiskFullError("disk", "must have room")

    monkeypatch.setattr(seen, "save", full)
    with pytest.raises(DiskFullError):
        device(repository, tmp_path / "d", clock=clock).refresh()


def test_what_is_trusted_is_on_the_disk_before_it_counts(repository, tmp_path, clock, monkeypatch):
    synced, fsync, save = set(), os.fsync, seen.save

    def recorded(number):
        status = os.fstat(number)
        synced.add((status.st_dev, status.st_ino))
        fsync(number)

    def saved(path, now):
        """What was seen is relied on from here on: all of it must be there."""
        for file in (tmp_path / "d" / "metadata").rglob("*"):
            if not file.is_symlink():
                assert (file.stat().st_dev, file.stat().st_ino) in synced, file
        save(path, now)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(seen, "save", saved)
    device(repository, tmp_path / "d", clock=clock).refresh()
    for file in (tmp_path / "d").rglob("*"):
        if not file.is_symlink():
            assert (file.stat().st_dev, file.stat().st_ino) in synced, file


def test_a_clock_years_behind_neither_locks_the_device_out_nor_takes_what_is_older(
    repository, tmp_path, clock
):
    old, late = served(repository), FakeClock(0.0)
    assert versions(device(repository, tmp_path / "d", clock=late)) == [1]
    clock.sleep(30 * DAY)
    repository.refresh()
    publish(repository, b"two")
    assert versions(device(repository, tmp_path / "d", clock=late)) == [1, 2]
    assert "must not be older than what was seen" in refused(
        device(old, tmp_path / "d", clock=late)
    )
    shutil.rmtree(tmp_path / "d" / "metadata")  # its time is known without the cache
    assert refused(device(old, tmp_path / "d", clock=late)) == (
        "[E402] signed metadata of channel 'stable' must not be expired, got timestamp.json is"
        " expired. The device keeps the release it has"
    )


def test_a_clock_years_ahead_is_named_and_trust_heals_with_it(repository, tmp_path, clock):
    ahead = FakeClock(clock.now() + 10 * YEAR)
    assert refused(device(repository, tmp_path / "d", clock=ahead)) == (
        "[E402] signed metadata of channel 'stable' must not be expired, got Final root.json is"
        " expired by this device's clock: it says 2037-01-12T08:00:00Z, and 2027-01-15T08:00:00Z"
        " has surely passed. The device keeps the release it has"
    )
    ahead.jump(-10 * YEAR)
    assert versions(device(repository, tmp_path / "d", clock=ahead)) == [1]


def test_metadata_older_than_this_package_is_not_taken_by_a_device_without_a_clock(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(trusted_time, "RELEASED", "2026-11-01")
    before = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
    repository = Repository(tmp_path / "repository", tmp_path / "keys", FakeClock(before))
    repository.create(("stable",))
    publish(repository, b"one")
    assert "must not be expired" in refused(
        device(repository, tmp_path / "d", clock=FakeClock(0.0))
    )


@pytest.mark.parametrize(("boot", "noticed"), [("one", True), ("two", False)])
def test_a_freeze_is_noticed_without_a_clock_while_the_device_is_powered(
    repository, tmp_path, monkeypatch, boot, noticed
):
    late = FakeClock(0.0)
    monkeypatch.setattr("edgeloop.release.trusted_store.boot_id", lambda: "one")
    assert versions(device(repository, tmp_path / "d", clock=late)) == [1]
    late.sleep(15 * DAY)
    monkeypatch.setattr("edgeloop.release.trusted_store.boot_id", lambda: boot)
    channel = device(repository, tmp_path / "d", clock=late)
    if noticed:
        assert "got timestamp.json is expired." in refused(channel)
    else:
        assert versions(channel) == [1]


def test_time_and_versions_that_a_thief_signed_far_ahead_are_forgotten_with_the_key(
    repository, tmp_path, clock
):
    channel = device(repository, tmp_path / "d", clock=clock)
    good = (repository.folder / "metadata" / "timestamp.json").read_bytes()
    stolen = Repository(repository.folder, repository.keys, FakeClock(clock.now() + 70 * YEAR))
    forged = stolen._roles.load("timestamp")
    forged.signed.version = 1_000_000
    forged.signed.expires += timedelta(days=71 * 365)
    stolen._roles.save("timestamp", forged, [stolen._roles.signer("timestamp")])
    assert versions(channel) == [1]
    assert "must not be expired" in refused(channel)  # it delays, and it does not install
    (repository.folder / "metadata" / "timestamp.json").write_bytes(good)
    repository.rotate(["timestamp"])
    assert versions(channel) == [1]


def test_a_time_that_is_none_counts_for_nothing(repository):
    role = repository._roles.load("timestamp").signed
    for told in ("soon", 7, None, "2027-01-15T08:00:00", "2199-01-01T00:00:00Z"):
        role.unrecognized_fields[trusted_time.SIGNED_AT] = told
        assert trusted_time.signed_at(role) == 0.0


def test_a_little_time_alone_is_not_written_to_the_flash_each_time(repository, tmp_path, clock):
    channel = device(repository, tmp_path / "d", clock=clock)
    channel.refresh()
    before = (tmp_path / "d" / "seen.json").stat().st_ino
    clock.sleep(60)
    channel.refresh()
    assert (tmp_path / "d" / "seen.json").stat().st_ino == before
    clock.sleep(2 * 3600)
    channel.refresh()
    assert (tmp_path / "d" / "seen.json").stat().st_ino != before


def test_manifests_that_are_listed_no_more_are_tidied_away_and_others_stay(repository, tmp_path):
    publish(repository, b"two")
    repository.publish(b"other", name="sorter.1", channel="stable", plan=PLAN)
    channel, cache = device(repository, tmp_path / "d"), tmp_path / "d" / "targets"
    for line in channel.refresh().releases:
        channel.manifest(line)
    (cache / ".stable%2F_sorter.1.json.new").write_bytes(b"cut")
    (cache / "stable%2F_sorter.1.1.json").write_bytes(b"of another model")
    repository.delist("sorter", "stable", 1)
    (line,) = channel.refresh().releases
    assert sorted(path.name for path in cache.iterdir()) == [
        "stable%2F_sorter.1.1.json",
        "stable%2F_sorter.2.json",
        "stable%2Fsorter.json",
    ]
    for manifest in repository.folder.glob("targets/stable/*._sorter.2.json"):
        manifest.unlink()
    assert channel.manifest(line) == b"two"  # from the cache
