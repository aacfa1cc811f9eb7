"""A device's key: of either kind, followed by another, revoked, and enrolled again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from claiming import p256
from fleet_bench import Bench, Device, Raw, message
from sqlalchemy import text

from edgeloop.errors import ConflictError, SignatureError
from edgeloop.fleet import calls, rotation
from edgeloop.fleet.calls import Call
from edgeloop.protocol import keys
from edgeloop.protocol.messages import Rotate
from edgeloop.protocol.proofs import Use, prove
from edgeloop.protocol.signatures import Signed


def offered(device: Device, key: keys.Signer, **changed: Any) -> Any:
    """The reply to a next key."""
    told = {
        "public_key": keys.public_pem(key.public_key()),
        "proof": prove(key, Use.ROTATE, device.id),
    }
    return device.send("POST", "/v1/rotate", Raw(said=told | changed))


def with_key(device: Device, key: keys.Signer) -> Device:
    return Device(device.bench, device.name, key=key, known_as=device.id)


def again(bench: Bench, name: str, **told: Any) -> str:
    return bench.operator.create_token(renews=name, **told).token


def test_a_device_with_a_p256_key_is_a_device_as_any_other(bench: Bench) -> None:
    device = Device(bench, "cam-1", key=p256())
    assert device.enrol(bench.operator.create_token().token).status_code == 200
    device.runs(1)
    assert 'alg="ecdsa-p256-sha256"' in device.request("GET", "/").headers["Signature-Input"]
    assert offered(device, keys.generate()).status_code == 200


def test_both_keys_speak_until_the_next_one_is_first_used(bench: Bench) -> None:
    device, key = bench.device("cam-1"), keys.generate()
    first = offered(device, key)
    assert first.json() == {"fingerprint": keys.fingerprint(key.public_key())}
    assert offered(device, key).json() == first.json()  # the reply was lost
    bench.restart()
    assert device.desired().status_code == 200
    assert bench.operator.device("cam-1").rotating is True
    after = with_key(device, key)
    assert after.desired().status_code == 200
    assert device.desired().status_code == 401
    assert after.desired().status_code == 200
    assert offered(after, key).json() == first.json()
    assert bench.operator.device("cam-1").rotating is False
    changed = [line for line in bench.operator.audit() if line.action == "device.key_changed"]
    assert [(line.detail["from"], line.detail["to"]) for line in changed] == [
        (device.id, keys.fingerprint(key.public_key()))
    ]


def test_a_next_key_that_was_lost_is_replaced_by_another(bench: Bench) -> None:
    device, lost, key = bench.device("cam-1"), keys.generate(), keys.generate()
    offered(device, lost)
    offered(device, key)
    assert with_key(device, lost).desired().status_code == 401
    assert with_key(device, key).desired().status_code == 200


def test_who_brings_a_next_key_holds_it_and_brings_it_for_this_device(bench: Bench) -> None:
    one, two, key = bench.device("cam-1"), bench.device("cam-2"), keys.generate()
    for wrong in (
        prove(key, Use.ROTATE, two.id),
        prove(key, Use.CLAIM, one.id),
        prove(two.key, Use.ROTATE, one.id),
    ):
        reply = offered(one, key, proof=wrong)
        assert (reply.status_code, message(reply)) == (
            401,
            "[E401] proof of the next key must be by that key, for this device",
        )
    reply = offered(one, two.key)
    assert (reply.status_code, message(reply)) == (
        409,
        f"[E604] device {two.id} must not be enrolled already",
    )


def test_an_operator_asks_for_a_new_key_until_it_is_used(bench: Bench) -> None:
    device, key = bench.device("cam-1"), keys.generate()
    bench.operator.rotate("cam-1")
    assert device.desired().json()["rotate_key"] is True
    offered(device, key)
    assert with_key(device, key).desired().json()["rotate_key"] is False


def test_a_revoked_device_is_refused_at_once_whatever_it_says(bench: Bench) -> None:
    device, key = bench.device("cam-1"), keys.generate()
    offered(device, key)
    view = bench.operator.revoke("cam-1")
    assert view.revoked is True
    for speaker in (device, with_key(device, key)):
        for reply in (speaker.desired(), speaker.report(), offered(speaker, keys.generate())):
            assert (reply.status_code, message(reply)) == (
                401,
                f"[E610] device {device.id} must not be revoked. "
                "Enrol it with a new token and --new-key",
            )
    assert bench.actions("device") == ["device.enrolled", "device.revoked"]


def test_a_revoked_device_counts_in_no_rollout(bench: Bench) -> None:
    bench.device("cam-1")
    bench.device("cam-2")
    bench.list_release(1)
    number = bench.go(1)
    (offered_to,) = [name for name, job in bench.states(number).items() if job == "IN_PROGRESS"]
    bench.operator.revoke(offered_to)
    assert bench.states(number)[offered_to] == "REMOVED"


def test_a_device_that_is_enrolled_again_keeps_its_history_with_another_key(bench: Bench) -> None:
    device = bench.device("cam-1", site="north")
    device.runs(1)
    bench.operator.hold("cam-1")
    token = again(bench, "cam-1", labels={"floor": "2"})
    renewed = Device(bench, "cam-1")  # it does not know who it was
    reply = renewed.enrol(token)
    assert reply.json()["device"] == device.id
    assert renewed.enrol(token).json() == reply.json()
    renewed.known_as = device.id
    view = bench.operator.device("cam-1")
    assert (view.labels, view.hold) == ({"site": "north", "floor": "2"}, True)
    assert view.report is not None
    assert renewed.desired().status_code == 200
    assert device.desired().status_code == 401
    bench.clock.sleep(1)
    renewed.runs(1)  # its moves began again at 0
    assert "device.enrolled_again" in bench.actions("device")


def test_a_token_for_a_device_is_for_no_other(bench: Bench) -> None:
    bench.device("cam-1")
    token = again(bench, "cam-1")
    reply = Device(bench, "cam-2").enrol(token)
    assert (reply.status_code, message(reply)) == (
        409,
        "[E604] device name cam-2 must be cam-1, which its token is for",
    )


def test_a_revoked_key_does_not_come_back(bench: Bench) -> None:
    device = bench.device("cam-1")
    bench.operator.revoke("cam-1")
    token = again(bench, "cam-1")
    reply = device.enrol(token)
    assert (reply.status_code, message(reply)) == (
        409,
        "[E604] device cam-1 must bring a key that is not revoked. Enrol it with --new-key",
    )
    renewed = Device(bench, "cam-1")
    renewed.enrol(token)
    renewed.known_as = device.id
    assert renewed.desired().status_code == 200
    assert bench.operator.device("cam-1").revoked is False


def test_no_key_comes_back_that_was_revoked_after_it_followed_another(bench: Bench) -> None:
    device, stolen, brought = bench.device("cam-1"), keys.generate(), keys.generate()
    offered(device, stolen)
    with_key(device, stolen).desired()
    offered(with_key(device, stolen), brought)  # by the thief, and never used
    bench.operator.revoke("cam-1")
    assert Device(bench, "cam-1").enrol(again(bench, "cam-1")).status_code == 200
    for key in (stolen, brought):
        for name, token in (
            ("cam-2", bench.operator.create_token().token),
            ("cam-1", again(bench, "cam-1")),
        ):
            reply = Device(bench, name, key=key).enrol(token)
            assert (reply.status_code, message(reply)) == (
                409,
                f"[E604] device {device.id} must bring a key that is not revoked. "
                "Enrol it with --new-key",
            )
    assert len(bench.operator.devices()) == 1


def test_a_key_that_was_revoked_before_such_keys_were_kept_does_not_come_back(bench: Bench) -> None:
    device, key = bench.device("cam-1"), keys.generate()
    offered(device, key)
    with_key(device, key).desired()
    bench.operator.revoke("cam-1")
    with bench.app.state.plane.database.begin() as session:
        session.execute(text("DROP TABLE revoked_keys"))
        session.execute(text("UPDATE alembic_version SET version_num = '0007'"))
    bench.restart()
    assert Device(bench, "cam-1").enrol(again(bench, "cam-1")).status_code == 200
    reply = Device(bench, "cam-2", key=key).enrol(bench.operator.create_token().token)
    assert message(reply) == (
        f"[E604] device {device.id} must bring a key that is not revoked. Enrol it with --new-key"
    )


def identified(device: Device, key: keys.Signer) -> tuple[Signed, Rotate]:
    """A next key's request that was looked at, and waits for its turn to write."""
    proof = prove(key, Use.ROTATE, device.id)
    told = Rotate(public_key=keys.public_pem(key.public_key()), proof=proof)
    sent = device.request("POST", "/v1/rotate", told.model_dump_json().encode())
    call = Call(method="POST", url=str(sent.url), headers=dict(sent.headers), body=sent.content)
    return calls.identify(device.bench.app.state.plane, call), told


def followed_by(device: Device, key: keys.Signer) -> Device:
    offered(device, key)
    return with_key(device, key)


def enrolled_again(device: Device, key: keys.Signer) -> Device:
    device.bench.operator.revoke(device.name)
    Device(device.bench, device.name, key=key).enrol(again(device.bench, device.name))
    return with_key(device, key)


@pytest.mark.parametrize("renewed", [followed_by, enrolled_again])
def test_a_key_that_is_none_by_the_time_it_may_write_changes_nothing(
    bench: Bench, renewed: Callable[[Device, keys.Signer], Device]
) -> None:
    device, thiefs = bench.device("cam-1"), keys.generate()
    signed, told = identified(device, thiefs)
    after = renewed(device, keys.generate())
    assert after.desired().status_code == 200
    plane = bench.app.state.plane
    with pytest.raises(SignatureError) as caught, calls.by_device(plane, signed) as (session, row):
        rotation.rotate(session, row, told)
    assert str(caught.value) == (
        f"[E401] signature by {device.id} must be by a key that is the device's by now"
    )
    assert with_key(device, thiefs).desired().status_code == 401
    assert after.desired().status_code == 200


def test_no_device_takes_the_key_that_another_speaks_with(bench: Bench) -> None:
    one, key = bench.device("cam-1"), keys.generate()
    offered(one, key)
    reply = Device(bench, "cam-2", key=key).enrol(bench.operator.create_token().token)
    assert message(reply) == f"[E604] device {one.id} must not be enrolled already"


def test_a_decommissioned_device_gets_no_token(bench: Bench) -> None:
    bench.device("cam-1")
    bench.operator.decommission("cam-1")
    with pytest.raises(ConflictError) as caught:
        again(bench, "cam-1")
    assert str(caught.value) == "[E604] device cam-1 must not be decommissioned"
