"""Zero touch: a factory certificate makes a device, once per serial number."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from claiming import Made, p256
from fleet_bench import Bench, message

from edgeloop.errors import ConflictError, FactoryError
from edgeloop.fleet.models import NonceRow
from edgeloop.protocol import keys
from edgeloop.protocol.proofs import Use, prove
from edgeloop.testing.factory import Line, line

FACTORY = line()


def added(bench: Bench, ca: Line = FACTORY, **told: Any) -> None:
    usual = {"name": "acme", "certificate": ca.pem, "model": "sorter", "labels": {"site": "north"}}
    bench.operator.add_factory(**(usual | told))


def refused(reply: Any, status: int) -> str:
    assert reply.status_code == status, reply.text
    return message(reply)


def test_any_device_of_a_factory_claims_a_place_by_its_serial_number(bench: Bench) -> None:
    added(bench)
    made = Made(bench, FACTORY, "SN:1")
    reply = made.claim(labels={"site": "south", "floor": "2"})
    assert reply.json() == {
        "device": keys.fingerprint(made.own.public_key()),
        "name": "SN-1",
        "model": "sorter",
        "channel": "stable",
        "labels": {"site": "north", "floor": "2"},
        "poll_seconds": 1.0,
    }
    made.device(reply).runs(1)
    assert bench.operator.device("SN-1").model == "sorter"
    line_ = next(one for one in bench.operator.audit() if one.action == "device.claimed")
    assert (line_.detail["factory"], line_.detail["serial"]) == ("acme", "SN:1")


def test_where_a_list_is_asked_for_only_its_serial_numbers_claim(bench: Bench) -> None:
    added(bench, listed_only=True)
    bench.operator.list_serials(
        "acme", [{"serial": "SN-1", "name": "gate-camera", "labels": {"site": "gate"}}]
    )
    told = Made(bench, FACTORY, "SN-1").claim().json()
    assert (told["name"], told["labels"]) == ("gate-camera", {"site": "gate"})
    assert refused(Made(bench, FACTORY, "SN-2").claim(), 401) == (
        "[E611] serial number SN-2 must be on the list of factory acme. "
        "An operator adds it with `edgeloop fleet factory serials`"
    )
    (view,) = bench.operator.factories()
    assert (view.listed, view.claimed) == (1, 1)


def test_a_claim_whose_reply_was_lost_gets_the_same_answer_again(bench: Bench) -> None:
    added(bench)
    made = Made(bench, FACTORY, "SN-1")
    assert made.claim().json() == made.claim().json()
    assert len(bench.operator.devices()) == 1
    assert bench.actions("device") == ["device.claimed"]


def test_a_serial_number_is_claimed_once_until_an_operator_frees_it(bench: Bench) -> None:
    added(bench)
    first = Made(bench, FACTORY, "SN-1")
    device = first.device(first.claim())
    device.runs(1)
    again = Made(bench, FACTORY, "SN-1", factory_key=first.factory_key)
    assert refused(again.claim(), 409) == (
        "[E604] serial number SN-1 of factory acme must not be claimed by another key. "
        "An operator frees it with `edgeloop device release-claim SN-1`"
    )
    assert device.desired().status_code == 200
    bench.operator.release_claim("SN-1")
    reply = again.claim()
    assert reply.json()["device"] == device.id  # with its history
    assert again.device(reply).desired().status_code == 200
    assert device.desired().status_code == 401  # the key before is no key any more
    assert refused(Made(bench, FACTORY, "SN-1").claim(), 409).startswith("[E604] serial number")
    assert len(bench.operator.devices()) == 1


def test_a_claim_is_signed_by_the_certificates_key(bench: Bench) -> None:
    added(bench)
    made = Made(bench, FACTORY, "SN-1")
    thief = p256()  # has a certificate that it saw, and not its key
    assert refused(made.claim(signer=thief), 401) == (
        f"[E401] signature of POST /v1/claim by {keys.fingerprint(thief.public_key())} "
        "must fit the request and the key, got a signature by another key or over other content"
    )
    assert bench.operator.devices() == []


def test_a_claim_proves_the_key_that_it_brings_for_itself_alone(bench: Bench) -> None:
    added(bench)
    made, other = Made(bench, FACTORY, "SN-1"), Made(bench, FACTORY, "SN-2")
    text = "[E401] proof of the device's key must be by that key, for this claim"
    public = made.factory_key.public_key()
    for wrong in (
        prove(other.own, Use.CLAIM, keys.fingerprint(public)),
        prove(made.own, Use.CLAIM, keys.fingerprint(other.factory_key.public_key())),
        prove(made.own, Use.ROTATE, keys.fingerprint(public)),
        "no base64",
    ):
        assert refused(made.claim(proof=wrong), 401) == text


def test_a_stranger_leaves_no_trace(bench: Bench) -> None:
    added(bench)
    reply = Made(bench, line(), "SN-1").claim()
    assert refused(reply, 401) == (
        "[E611] factory certificate must be issued by a factory's authority that is known here. "
        "An operator adds one with `edgeloop fleet factory add`"
    )
    with bench.app.state.plane.database.read() as session:
        assert session.query(NonceRow).count() == 0


def test_a_claim_is_good_once(bench: Bench) -> None:
    added(bench)
    made = Made(bench, FACTORY, "SN-1")
    sent = made.claim().request
    again = bench.http.send(sent)
    assert refused(again, 401).endswith("must not be used twice")


def test_a_revoked_factory_lets_nobody_in_and_what_came_before_stays(bench: Bench) -> None:
    added(bench)
    made = Made(bench, FACTORY, "SN-1")
    device = made.device(made.claim())
    bench.operator.revoke_factory("acme")
    assert refused(Made(bench, FACTORY, "SN-2").claim(), 401) == (
        "[E611] factory acme must not be revoked"
    )
    assert device.desired().status_code == 200
    added(bench, name="acme-2", model="other")  # the same authority, for another model
    assert Made(bench, FACTORY, "SN-2").claim().json()["model"] == "other"


def test_the_clock_of_a_certificate_is_the_servers(bench: Bench) -> None:
    added(bench)
    made = Made(bench, FACTORY, "SN-1")
    made.chain = FACTORY.device(
        "SN-1", made.factory_key.public_key(), ends=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert refused(made.claim(), 401).startswith(
        "[E611] factory certificate must be valid on 2027-01-15, by this side's clock, got "
    )


def test_a_revoked_device_claims_again_only_when_it_was_freed_and_with_a_new_key(
    bench: Bench,
) -> None:
    added(bench)
    made = Made(bench, FACTORY, "SN-1")
    device = made.device(made.claim())
    bench.operator.revoke("SN-1")
    assert refused(made.claim(), 401) == f"[E610] device {device.id} must not be revoked"
    bench.operator.release_claim("SN-1")
    assert refused(made.claim(), 409) == (
        "[E604] device SN-1 must bring a key that is not revoked. Enrol it with --new-key"
    )
    made.own = keys.generate()
    assert made.device(made.claim()).desired().status_code == 200
    assert bench.operator.device("SN-1").revoked is False


def test_only_what_was_claimed_is_freed(bench: Bench) -> None:
    bench.device("cam-1")
    with pytest.raises(ConflictError) as caught:
        bench.operator.release_claim("cam-1")
    assert str(caught.value) == (
        "[E604] device cam-1 must have been claimed by a factory certificate. "
        "`edgeloop device re-enrol cam-1` gives a token"
    )


def test_an_authority_that_is_added_again_has_each_serial_number_once(bench: Bench) -> None:
    added(bench)
    made, gone = Made(bench, FACTORY, "SN-1"), Made(bench, FACTORY, "SN-2")
    device = made.device(made.claim())
    gone.claim()
    bench.operator.decommission("SN-2")
    bench.operator.revoke_factory("acme")
    added(bench, name="acme-2", model="other")
    for first in (made, gone):  # by whoever copied certificate and key meanwhile
        copied = Made(bench, FACTORY, first.serial, factory_key=first.factory_key)
        assert refused(copied.claim(), 409) == (
            f"[E604] serial number {first.serial} of factory acme must not be claimed by another "
            f"key. An operator frees it with `edgeloop device release-claim {first.serial}`"
        )
    assert device.desired().status_code == 200
    bench.operator.release_claim("SN-1")
    again = Made(bench, FACTORY, "SN-1", factory_key=made.factory_key).claim().json()
    assert (again["device"], again["model"]) == (device.id, "other")
    assert len(bench.operator.devices()) == 2


@pytest.mark.parametrize("below", [True, False])
def test_no_factorys_authority_is_above_or_below_anothers(bench: Bench, *, below: bool) -> None:
    plant = FACTORY.below("plant 1")
    added(bench, FACTORY if below else plant)
    with pytest.raises(ConflictError) as caught:
        added(bench, plant if below else FACTORY, name="other")
    assert str(caught.value) == (
        "[E604] authority of factory other must not be above or below that of factory acme. "
        "Else a serial number could be claimed once under each of them"
    )


def test_a_factory_has_a_name_and_an_authority(bench: Bench) -> None:
    added(bench)
    with pytest.raises(ConflictError) as caught:
        added(bench)
    assert str(caught.value) == "[E604] factory acme must not be there already"
    with pytest.raises(FactoryError):
        added(bench, name="other", certificate=json.dumps("nonsense"))
