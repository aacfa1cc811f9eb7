"""Where keys live that need no chip, and what another package may add."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgeloop.agent import key_places
from edgeloop.errors import KeyPlaceError
from edgeloop.protocol import keys


def test_a_device_key_may_be_a_p256_key_in_a_file(tmp_path: Path) -> None:
    keys.save(ec.generate_private_key(ec.SECP256R1()), tmp_path / "device.pem")
    key = key_places.key_of("file:", tmp_path)
    assert keys.fits(key.public_key(), key.sign(b"said"), b"said")
    assert not keys.fits(key.public_key(), key.sign(b"said"), b"other")
    assert not keys.fits(key.public_key(), b"short", b"said")
    signature = key.sign(b"said")
    longer = signature[:32] + b"\0" + signature[32:]  # the same two numbers, written otherwise
    assert not keys.fits(key.public_key(), longer, b"said")


def test_another_package_keeps_keys_where_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        def load(self) -> Any:
            return lambda uri, folder: (uri, folder)

    def points(*, group: str, name: str) -> list[Point]:
        assert group == "edgeloop.key_places"
        return [Point()] if name == "vault" else []

    monkeypatch.setattr(key_places, "entry_points", points)
    assert key_places.place("vault:here", tmp_path) == ("vault:here", tmp_path)
    with pytest.raises(KeyPlaceError):
        key_places.place("elsewhere:here", tmp_path)


def test_a_place_that_nothing_keeps_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyPlaceError) as caught:
        key_places.place("vault:x", tmp_path)
    assert str(caught.value) == (
        "[E612] place of keys vault: must be one that is installed here, "
        "got file:, pkcs11: and no other. "
        "Install the package that has it as an entry point of edgeloop.key_places"
    )


def test_a_file_needs_no_library_of_chips() -> None:
    code = "import edgeloop.agent.key_places, sys; assert 'pkcs11' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
