"""A device's key in a token, by SoftHSM 2: made in it, used in it, followed by another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.identity_ground import on_ground
from tests.agent.softhsm import MODULE, PIN, a_token, needed, uri
from tests.agent.world import Factory

from edgeloop.agent import key_places, pkcs11_place
from edgeloop.agent.key_places import Place
from edgeloop.errors import KeyPlaceError
from edgeloop.protocol import keys
from edgeloop.testing.clock import FakeClock

pytestmark = needed


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with a_token(tmp_path_factory.mktemp("softhsm")) as made:
        yield made


def place(token: Path, name: str) -> Place:
    return key_places.place(uri(token, name), token)


def fits(key: keys.Signer) -> bool:
    return keys.fits(key.public_key(), key.sign(b"said"), b"said")


def named(key: keys.Signer | None) -> str:
    assert key is not None
    return keys.fingerprint(key.public_key())


def test_an_ed25519_key_is_made_in_the_token_and_signs_there(token: Path) -> None:
    here = place(token, "first")
    assert here.current() is None
    made = here.make()
    assert made.public_key().__class__.__name__ == "Ed25519PublicKey"
    assert fits(made)
    again = place(token, "first").current()
    assert again is not None
    assert named(again) == named(made)
    assert fits(again)


def test_a_token_without_ed25519_gives_a_p256_key(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11_place, "_has_ed25519", lambda _session: False)
    made = place(token, "second").make()
    assert made.public_key().key_size == 256  # type: ignore[union-attr]
    assert fits(made)
    assert named(place(token, "second").current()) == named(made)


def test_the_private_key_does_not_leave_the_token(token: Path) -> None:
    import pkcs11
    from pkcs11 import Attribute

    place(token, "kept").make()
    asked = {Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, Attribute.LABEL: "kept"}
    with pkcs11.lib(str(MODULE)).get_token(token_label="edge").open(user_pin=PIN) as session:
        (key,) = session.get_objects(asked)
        with pytest.raises(pkcs11.AttributeSensitive):
            _ = key[Attribute.VALUE]


def test_the_next_key_follows_and_the_one_before_is_destroyed(token: Path) -> None:
    here = place(token, "third")
    before, after = here.make(), here.make_upcoming()
    assert (named(here.current()), named(here.upcoming())) == (named(before), named(after))
    here.adopt()
    assert (named(here.current()), here.upcoming()) == (named(after), None)
    assert place(token, "third-old").current() is None


def test_an_adoption_that_was_cut_off_is_ended(token: Path) -> None:
    import pkcs11
    from pkcs11 import Attribute

    here = place(token, "fourth")
    here.make()
    after = here.make_upcoming()
    asked = {Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, Attribute.LABEL: "fourth"}
    lib = pkcs11.lib(str(MODULE))
    with lib.get_token(token_label="edge").open(rw=True, user_pin=PIN) as session:
        (key,) = session.get_objects(asked)
        key[Attribute.LABEL] = "fourth-old"
    assert named(here.current()) == named(after)
    assert here.upcoming() is None
    assert place(token, "fourth-old").current() is None


def test_a_device_with_its_key_in_a_token_is_enrolled_and_rotates(
    token: Path, tmp_path: Path, clock: FakeClock, factory: Factory
) -> None:
    with on_ground(tmp_path, clock, factory, key=uri(token, "device")) as ground:
        assert not (ground.folder / "device.pem").exists()
        was = named(place(token, "device").current())
        assert ground.heard()
        ground.client.rotate("d1")
        assert ground.heard()
        assert ground.heard()
        assert ground.changes() == [(was, named(place(token, "device").current()))]


def test_a_wrong_pin_and_a_token_that_is_not_there_are_named(token: Path) -> None:
    with pytest.raises(KeyPlaceError) as caught:
        key_places.place(uri(token, "x", "elsewhere"), token).current()
    assert str(caught.value).startswith(
        "[E612] token elsewhere must keep and use the device's key, got NoSuchToken "
    )
    (token / "wrong").write_text("0000")
    (token / "wrong").chmod(0o600)
    wrong = uri(token, "x").replace("/pin", "/wrong")
    with pytest.raises(KeyPlaceError) as caught:
        key_places.place(wrong, token).current()
    assert str(caught.value) == (
        "[E612] token edge must keep and use the device's key, got PinIncorrect"
    )


def test_a_uri_that_lacks_a_part_is_named(token: Path) -> None:
    with pytest.raises(KeyPlaceError) as caught:
        key_places.place("pkcs11:token=edge", token)
    assert str(caught.value) == (
        "[E612] place of the key must be pkcs11:token=...;object=...?module-path=... (RFC 7512), "
        "got no object, module-path"
    )
