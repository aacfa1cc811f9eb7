"""The attacks that the TUF specification names, against a device's own client over real HTTP."""

import shutil
import time

import pytest
from tests.hostile.site import QUICK, Site, Visitor
from tests.release.shelf import PLAN, publish

from edgeloop.agent.transport import CHUNK
from edgeloop.errors import (
    EdgeloopError,
    NotListedError,
    SignatureError,
    StaleMetadataError,
    UnreachableError,
)
from edgeloop.release.repository import Repository
from edgeloop.testing.clock import FakeClock

DAY = 86_400
STAYS = ". The device keeps the release it has"
OURS = "signed metadata of channel 'stable' must"


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "repository", tmp_path / "keys")
    made.create(("stable", "beta"))
    publish(made, b"one" * 1000)
    return made


@pytest.fixture
def site(repository):
    with Site(repository.folder) as made:
        yield made


@pytest.fixture
def visitor(site, repository, tmp_path):
    return Visitor(site, repository, tmp_path / "device")


def refused(visitor, kind=EdgeloopError):
    with pytest.raises(kind) as raised:
        visitor.sync()
    return str(raised.value)


def metadata(repository, name):
    return (repository.folder / "metadata" / name).read_bytes()


def target(repository, ending):
    (found,) = (repository.folder / "targets" / "stable").glob(f"*.{ending}")
    return found


@pytest.mark.parametrize(
    "name", ["timestamp.json", "snapshot.json", "targets.json", "stable.json", "sorter.json"]
)
def test_arbitrary_software_is_refused_wherever_it_is_slipped_in(
    site, visitor, tmp_path, name, repository
):
    other = Repository(tmp_path / "evil", tmp_path / "evil-keys")
    other.create(("stable", "beta"))
    publish(other, b"evil")
    files = [*other.folder.rglob(f"*{name}")]
    site.lies[name] = max(files, key=lambda path: path.stat().st_mtime_ns).read_bytes()
    assert refused(visitor, SignatureError).startswith(f"[E401] {OURS} be whole and signed by")


def test_arbitrary_software_in_the_place_of_a_manifest_is_refused(site, visitor):
    site.lies["._sorter.1.json"] = b"evil"
    assert refused(visitor) == (
        f"[E401] {OURS} be whole and signed by trusted keys, got"
        f" Observed length 4 does not match expected length 3000{STAYS}"
    )


def test_a_timestamp_that_is_older_than_was_seen_is_refused(site, visitor, repository):
    site.lies["timestamp.json"] = metadata(repository, "timestamp.json")
    publish(repository, b"two")
    lie = site.lies.pop("timestamp.json")
    assert visitor.versions() == [1, 2]
    site.lies["timestamp.json"] = lie
    assert refused(visitor) == (
        f"[E402] {OURS} not be older than what was seen, got New timestamp version 2 must be >= 3"
        f"{STAYS}"
    )


def test_a_stolen_timestamp_key_cannot_name_an_older_snapshot(visitor, repository):
    publish(repository, b"two")
    visitor.versions()
    repository._roles.sign_timestamp(2)
    assert refused(visitor) == (
        f"[E402] {OURS} not be older than what was seen, got New snapshot version must be >= 3,"
        f" got version 2{STAYS}"
    )


def test_stolen_online_keys_cannot_name_an_older_list(visitor, repository):
    publish(repository, b"two")
    visitor.versions()
    repository._roles.publish({"stable": 2})
    assert refused(visitor, StaleMetadataError).startswith(
        f"[E402] {OURS} not be older than what was seen, got Expected stable.json version 2"
    )


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "stable"])
def test_versions_that_were_counted_far_ahead_are_recovered_by_new_keys(
    visitor, repository, role, tmp_path
):
    shutil.copytree(repository.folder, tmp_path / "good")
    roles = repository._roles
    ahead = roles.load(role)
    ahead.signed.version = 1_000_000
    if role == "timestamp":
        roles.renew(role, ahead)
    elif role == "snapshot":
        roles.sign_timestamp(roles.renew(role, ahead))
    else:
        roles.publish({role: roles.renew(role, ahead)})
    assert visitor.versions() == [1]
    shutil.rmtree(repository.folder)
    shutil.copytree(tmp_path / "good", repository.folder)
    publish(repository, b"two")
    publish(repository, b"three")
    assert "not be older than what was seen" in refused(visitor, StaleMetadataError)
    repository.rotate(["snapshot", "timestamp"])
    assert visitor.versions() == [1, 2, 3]  # the first look after the rotation


def test_a_freeze_is_noticed_within_one_expiry(site, repository, tmp_path):
    clock = FakeClock(time.time())
    visitor = Visitor(site, repository, tmp_path / "device", clock=clock)
    clock.sleep(13 * DAY)
    assert visitor.versions() == [1]
    clock.sleep(1 * DAY)
    text = refused(visitor, StaleMetadataError)
    assert text.startswith(f"[E402] {OURS} not be expired, got timestamp.json is expired by this")


def test_files_of_different_moments_are_not_mixed(site, visitor, repository):
    old = metadata(repository, "2.stable.json")
    publish(repository, b"two")
    site.lies["3.stable.json"] = old
    assert refused(visitor) == (
        f"[E402] {OURS} not be older than what was seen, got Expected stable v3, got v2.{STAYS}"
    )


def test_a_list_of_another_moment_is_not_put_in_the_place_of_the_signed_one(
    site, visitor, repository
):
    old = target(repository, "sorter.json").read_bytes()
    publish(repository, b"two")
    site.lies[".sorter.json"] = old
    assert "[E401]" in refused(visitor, SignatureError)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("2.root.json", 512_000),
        ("timestamp.json", 16_384),
        ("snapshot.json", 2_000_000),
        ("targets.json", 5_000_000),
        ("stable.json", 5_000_000),
        ("sorter.json", None),
        ("_sorter.1.json", 3000),
    ],
)
def test_endless_data_is_broken_off_within_the_declared_length_and_one_buffer(
    site, visitor, repository, name, most
):
    def endless():
        while True:
            yield b" " * 4096

    if most is None:
        most = target(repository, name).stat().st_size
    site.lies[name] = endless
    text = refused(visitor, SignatureError)
    assert "be whole and signed by trusted keys, got Downloaded " in text
    (came,) = [count for file, count in visitor.came.items() if file.endswith(name)]
    assert most < came <= most + CHUNK


@pytest.mark.parametrize("name", ["timestamp.json", "stable.json", "_sorter.1.json"])
def test_a_byte_now_and_then_is_not_waited_for(site, repository, tmp_path, name):
    sent = []

    def slow():
        while True:
            sent.append(1)
            yield b" "
            time.sleep(0.02)

    site.lies[name] = slow
    visitor = Visitor(site, repository, tmp_path / "device", pace=QUICK)
    text = refused(visitor, UnreachableError)
    assert "must come at 1024 bytes/s or more" in text or "must be reachable" in text
    assert len(sent) < 500


def test_a_list_of_another_model_or_channel_is_refused(visitor, repository, monkeypatch):
    listing = repository.listing("sorter", "stable").model_copy(update={"name": "other"})
    monkeypatch.setattr("edgeloop.release.repository.read_list", lambda *_: listing)
    repository.publish(b"two", name="sorter", channel="stable", plan=PLAN)
    monkeypatch.undo()
    shutil.copytree(repository.folder / "targets", repository.folder / "copy")
    role = repository._roles.load("stable")
    role.signed.targets["stable/sorter.json"] = role.signed.targets["stable/other.json"]
    repository._roles.publish({"stable": repository._roles.renew("stable", role)})
    for path in (repository.folder / "targets" / "stable").glob("*.other.json"):
        path.rename(path.with_name(path.name.replace(".other.json", ".sorter.json")))
    assert refused(visitor) == (
        "[E403] list of stable/sorter must be of this model and channel, got one of stable/other"
        f"{STAYS}"
    )


def test_the_key_of_another_channel_says_nothing_about_this_one(visitor, repository):
    beta = repository._roles.load("beta")
    evil = repository._roles.load("stable").signed.targets["stable/_sorter.1.json"]
    beta.signed.targets = {"stable/_sorter.9.json": evil, "stable/sorter.json": evil}
    repository._roles.publish({"beta": repository._roles.renew("beta", beta)})
    assert visitor.versions() == [1]
    (line,) = visitor.channel.refresh().releases
    with pytest.raises(NotListedError) as raised:
        visitor.channel.manifest(line.model_copy(update={"version": 9}))
    assert str(raised.value) == ("[E403] target stable/_sorter.9.json must be on the signed list")
