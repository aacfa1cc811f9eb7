"""Keys of real agents against the real control plane: claimed, rotated, revoked, enrolled again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.agent.identity_ground import URL, Ground, PowerCut, on_ground
from tests.agent.world import Factory, pictures

from edgeloop.agent import claiming, rotate_key
from edgeloop.agent.agent import Agent
from edgeloop.agent.home import Surroundings
from edgeloop.agent.key_places import FilePlace
from edgeloop.agent.settings import read
from edgeloop.errors import AgentFolderError, ConflictError, EnrolmentError, UnreachableError
from edgeloop.fleet.server import tick
from edgeloop.protocol.messages import Probation, RolloutPlan
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.factory import line


@pytest.fixture
def ground(tmp_path: Path, clock: FakeClock, factory: Factory) -> Iterator[Ground]:
    with on_ground(tmp_path, clock, factory) as made:
        yield made


def cut(*_: object) -> None:
    raise PowerCut


def lost(*_: object) -> None:
    raise UnreachableError(f"{URL}/v1/rotate", "must answer", got="a lost packet")


CUTS = (
    "before the next key is on the disk",
    "before the request",
    "when the request is lost",
    "when the reply is lost",
    "before the next key is adopted",
    "before the next key is used",
)


@pytest.mark.parametrize("where", CUTS)
def test_a_rotation_that_is_cut_off_leaves_a_key_that_is_taken_and_is_ended(
    ground: Ground, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ground.heard()
    was = ground.key()
    ground.client.rotate("d1")
    with monkeypatch.context() as patch:
        adopt = FilePlace.adopt
        if where == CUTS[0]:
            patch.setattr(FilePlace, "make_upcoming", cut)
        ground.wire.before = {"/v1/rotate": cut} if where == CUTS[1] else {}
        ground.wire.before = {"/v1/rotate": lost} if where == CUTS[2] else ground.wire.before
        ground.wire.after = {"/v1/rotate": cut} if where == CUTS[3] else {}
        if where == CUTS[4]:
            patch.setattr(FilePlace, "adopt", cut)
        if where == CUTS[5]:
            patch.setattr(FilePlace, "adopt", lambda place: cut(adopt(place)))
        if where == CUTS[2]:
            ground.fleet.step(10)
        else:
            with pytest.raises(PowerCut):
                ground.fleet.step(10)
    ground.wire.before = ground.wire.after = {}
    ground.fleet.cut_power("d1")
    ground.fleet.start("d1")
    for _ in range(3):
        assert ground.heard()
    assert ground.changes() == [(was, ground.key())]
    assert not (ground.folder / "device-next.pem").exists()
    assert ground.client.device("d1").rotating is False


def test_a_person_rotates_a_device_whose_agent_does_not_run(ground: Ground) -> None:
    was = ground.key()
    with pytest.raises(AgentFolderError):
        rotate_key.of_folder(ground.folder, ground.wire, ground.clock)
    ground.fleet.agents.pop("d1").close()
    assert rotate_key.of_folder(ground.folder, ground.wire, ground.clock) == ground.key()
    assert ground.changes() == [(was, ground.key())]
    ground.fleet.start("d1")
    assert ground.heard()


def test_what_a_person_began_the_agent_ends(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = ground.key()
    ground.fleet.agents.pop("d1").close()
    with monkeypatch.context() as patch:
        patch.setattr(FilePlace, "adopt", cut)
        with pytest.raises(PowerCut):
            rotate_key.of_folder(ground.folder, ground.wire, ground.clock)
    ground.fleet.start("d1")
    for _ in range(2):
        assert ground.heard()
    assert ground.changes() == [(was, ground.key())]


def test_a_key_that_cannot_be_made_holds_up_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.client.rotate("d1")
    with monkeypatch.context() as patch:
        patch.setattr(FilePlace, "make_upcoming", lost)
        assert ground.heard()
        assert ground.heard()
    assert ground.changes() == []
    assert ground.heard()  # now it has one
    assert ground.heard()  # and uses it
    assert len(ground.changes()) == 1


def until_it_runs(ground: Ground, factory: Factory) -> None:
    plan = RolloutPlan(soak_seconds=1, min_answers=5, probation=Probation(answers=20))
    ref = factory.publish(factory.bundle(), plan)
    number = ground.client.create_rollout("sorter", "stable", ref.version).id

    def over() -> bool:
        tick(ground.app)
        return str(ground.client.rollout(number).state) == "finished"

    ground.fleet.until(over)


def asks(_: Agent) -> Iterator[tuple[Mapping[str, Any], Any]]:
    for image in pictures(1, 10):
        yield {"image": image}, None


def test_a_revoked_device_answers_and_asks_seldom_and_keeps_what_it_has_to_say(
    ground: Ground, factory: Factory
) -> None:
    ground.fleet.traffic = asks
    until_it_runs(ground, factory)
    device = ground.client.device("d1").id
    ground.client.revoke("d1")
    ground.fleet.step(10)
    before = ground.wire.inner.requests
    sent = {one.window.id for one in ground.client.windows()}
    for _ in range(30):
        ground.fleet.step(360)  # three hours, in which it answers 300 times
    assert ground.fleet.agents["d1"].slot().ref.version == 1
    assert 3 <= ground.wire.inner.requests - before <= 8

    ground.fleet.agents.pop("d1").close()
    with pytest.raises(ConflictError) as caught:
        ground.enrol_again()
    assert "must bring a key that is not revoked. Enrol it with --new-key" in str(caught.value)
    ground.enrol_again(new_key=True)
    agent = ground.fleet.start("d1")
    assert agent.slot().ref.version == 1
    assert (agent.settings.device, ground.heard()) == (device, True)
    windows = [one.window for one in ground.client.windows() if one.window.id not in sent]
    assert sum(window.answers for window in windows) >= 300


def test_a_device_that_lost_its_key_is_enrolled_again_as_itself(ground: Ground) -> None:
    device = ground.client.device("d1").id
    ground.fleet.agents.pop("d1").close()
    (ground.folder / "device.pem").unlink()
    ground.enrol_again()
    ground.fleet.start("d1")
    assert ground.heard()
    assert [one.id for one in ground.client.devices()] == [device]


def test_enrolling_again_that_broke_off_goes_on_with_the_same_next_key(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.fleet.agents.pop("d1").close()
    token = ground.client.create_token(renews="d1")
    monkeypatch.setattr(ground.client, "create_token", lambda **_: token)
    ground.wire.after = {"/v1/enrol": cut}
    with pytest.raises(PowerCut):
        ground.enrol_again(new_key=True)
    ground.wire.after = {}
    with monkeypatch.context() as patch:
        patch.setattr(FilePlace, "adopt", cut)
        with pytest.raises(PowerCut):
            ground.enrol_again(new_key=True)
    ground.enrol_again(new_key=True)
    ground.fleet.start("d1")
    assert ground.heard()


def shipped(ground: Ground, tmp_path: Path, serial: str = "SN-1") -> Path:
    acme = line()
    ground.client.add_factory(name="acme", certificate=acme.pem, model="sorter")
    acme.ship(tmp_path / "made", serial, server=URL, root=ground.root.decode())
    return tmp_path / "made"


def claimed(ground: Ground, made: Path, folder: Path) -> None:
    claiming.claim(folder, made, transport=ground.wire, clock=ground.clock)


def test_a_device_from_the_factory_is_ready_without_a_person(
    ground: Ground, tmp_path: Path
) -> None:
    made, folder = shipped(ground, tmp_path), tmp_path / "fleet" / "sn"
    ground.wire.after = {"/v1/claim": cut}
    with pytest.raises(PowerCut):
        claimed(ground, made, folder)
    ground.wire.after = {}
    claimed(ground, made, folder)
    told = read(folder)
    assert (told.name, told.model, told.server) == ("SN-1", "sorter", URL)
    assert (folder / "device.pem").read_bytes() != (made / "key.pem").read_bytes()
    with Agent.open(folder, Surroundings(transport=ground.wire, clock=ground.clock)) as agent:
        agent.tick()
    assert ground.client.device("SN-1").report is not None


def test_what_the_factory_left_out_is_named_and_nothing_is_sent(
    ground: Ground, tmp_path: Path
) -> None:
    made = shipped(ground, tmp_path)
    before = ground.wire.inner.requests
    (made / "certificate.pem").unlink()
    with pytest.raises(EnrolmentError) as caught:
        claimed(ground, made, tmp_path / "d")
    assert str(caught.value) == (
        f"[E506] file {made / 'certificate.pem'} must be readable, got No such file or directory"
    )
    (made / "factory.json").write_text('{"server": "http://x"}')
    with pytest.raises(EnrolmentError) as caught:
        claimed(ground, made, tmp_path / "d")
    assert str(caught.value) == (
        f"[E506] file {made / 'factory.json'} must say server and root, got root: Field required. "
        "Make one with `edgeloop fleet factory ship`"
    )
    assert ground.wire.inner.requests == before
