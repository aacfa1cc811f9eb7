"""Keys that were stolen, fewer than the threshold or the online ones, against whole agents."""

import pytest
from tests.agent.world import pictures
from tests.hostile.site import Site, Visitor
from tests.release.shelf import publish

from edgeloop.errors import SignatureError
from edgeloop.protocol import keys
from edgeloop.release.repository import Repository
from edgeloop.release.roles import Roles

LINE = "[E401] signed metadata of channel 'stable' must be whole and signed by trusted keys, got "


@pytest.fixture(autouse=True)
def thieves_use_tools_that_refuse_nothing(monkeypatch):
    monkeypatch.setattr(Roles, "refuse_shared", lambda roles, role: None)


def another_key():
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner(keys.generate())


def ask_for_two(repository, role):
    """From now on two keys must sign for ``role``; gives both."""
    roles, second = repository._roles, another_key()
    both = (roles.signer(role), second)
    trust(repository, role, second, threshold=2)
    return sign(repository, role, both)


def trust(repository, role, key, *, threshold, instead_of=""):
    roles = repository._roles
    top = "targets" if role == "stable" else "root"
    metadata = roles.load(top)
    if instead_of:
        metadata.signed.revoke_key(instead_of, role)
    metadata.signed.add_key(key.public_key, role)
    named = metadata.signed.delegations.roles if top == "targets" else metadata.signed.roles
    named[role].threshold = threshold
    version = roles.renew(top, metadata)
    if top == "targets":
        roles.publish({"targets": version})


def sign(repository, role, signers):
    roles = repository._roles
    version = roles.renew(role, roles.load(role), *signers)
    if role == "stable":
        roles.publish({role: version})
    return signers


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "repository", tmp_path / "keys")
    made.create(("stable",))
    publish(made, b"one")
    return made


@pytest.mark.parametrize("role", ["timestamp", "stable"])
def test_one_key_of_two_signs_nothing_and_a_new_one_makes_it_well_at_once(
    repository, tmp_path, role
):
    first = repository.root()
    stolen, second = ask_for_two(repository, role)
    with Site(repository.folder) as site:
        visitor = Visitor(site, repository, tmp_path / "device", root=first)
        assert visitor.versions() == [1]
        publish(repository, b"evil")  # whoever has one key signs with it
        with pytest.raises(SignatureError) as raised:
            visitor.sync()
        assert str(raised.value) == (
            f"{LINE}{role} was signed by 1/2 keys. The device keeps the release it has"
        )
        repository.delist("sorter", "stable", 2)
        third = another_key()
        old = stolen.public_key.keyid
        trust(repository, role, third, threshold=2, instead_of=old)
        sign(repository, role, (second, third))
        assert visitor.versions() == [1]


def test_a_stolen_key_below_the_threshold_changes_no_device_and_two_polls_make_it_well(world):
    one, repository = world.agent.report().running, world.factory.repository
    stolen, second = ask_for_two(repository, "timestamp")
    evil = world.factory.publish(world.factory.bundle(scale=0.05))  # signed by the stolen key alone
    world.plane.wish(evil, rollout=2)
    for _ in range(5):
        world.fleet.step(2)
    last = world.plane.reports[-1]
    assert (last["state"], last["running"]) == ("idle", one.model_dump())
    assert last["outcome"]["reason"] == (
        f"{LINE}timestamp was signed by 1/2 keys. The device keeps the release it has"
    )
    assert world.agent.answer({"image": pictures(5, 1)[0]}).version == 1
    third = another_key()
    trust(repository, "timestamp", third, threshold=2, instead_of=stolen.public_key.keyid)
    sign(repository, "timestamp", (second, third))
    assert polls_until_it_downloads(world) <= 2


def test_stolen_online_keys_install_nothing_and_two_polls_after_rotation_it_is_well(world):
    one, repository = world.agent.report().running, world.factory.repository
    roles = repository._roles
    two = world.factory.publish(world.factory.bundle(scale=0.012))
    good = {path: path.read_bytes() for path in repository.folder.rglob("*.json")}
    ahead = roles.load("timestamp")
    ahead.signed.version = 1_000_000
    ahead.signed.snapshot_meta.version = 1_000_000
    roles.renew("timestamp", ahead)
    world.plane.wish(two, rollout=2)
    for _ in range(5):
        world.fleet.step(2)
    assert world.agent.report().running == one
    assert world.agent.answer({"image": pictures(5, 1)[0]}).version == 1
    for path, data in good.items():
        path.write_bytes(data)
    repository.rotate(["snapshot", "timestamp"])
    world.clock.sleep(120)  # whatever it waited for
    assert polls_until_it_downloads(world) <= 2


def polls_until_it_downloads(world):
    world.plane.calls.clear()
    world.plane.reports.clear()
    world.fleet.until(lambda: "downloading" in world.states(), steps=20, seconds=2)
    return sum(path == "/v1/desired" for _, path, _ in world.plane.calls)
