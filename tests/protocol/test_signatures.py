"""Requests that are signed, and those that are not what was signed."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeloop.errors import KeyFileError, SignatureError
from edgeloop.protocol import keys, signatures
from edgeloop.protocol.messages import VERSION_HEADER

NOW = 1_800_000_000.5
URL = "http://plane.example:8080/v1/report?a=1"
BODY = b'{"moves": 3}'
KEY = keys.generate()
KEY_ID = keys.fingerprint(KEY.public_key())


def signed(
    *, url: str = URL, body: bytes = BODY, now: float = NOW, method: str = "POST"
) -> dict[str, str]:
    headers = {VERSION_HEADER: "1"}
    return headers | signatures.sign(KEY, KEY_ID, method, url, headers, body, now)


def refusal(headers: dict[str, str], **changed: object) -> str:
    parts = {"method": "POST", "url": URL, "body": BODY, "now": NOW} | changed
    with pytest.raises(SignatureError) as caught:
        signatures.verify(KEY.public_key(), headers=headers, **parts)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_signed_request_verifies_and_names_its_key() -> None:
    headers = signed()
    found = signatures.verify(KEY.public_key(), "post", URL, headers, BODY, NOW)
    assert (found.key_id, found.created) == (KEY_ID, int(NOW))
    assert signatures.key_id_of(headers) == KEY_ID


def test_the_host_may_change_on_the_way() -> None:
    elsewhere = "https://other/v1/report?a=1"
    assert signatures.verify(KEY.public_key(), "POST", elsewhere, signed(), BODY, NOW)


def test_header_names_may_change_their_case() -> None:
    lower = {name.lower(): value for name, value in signed().items()}
    assert signatures.verify(KEY.public_key(), "POST", URL, lower, BODY, NOW)


def test_an_empty_body_is_covered_too() -> None:
    headers = signed(body=b"", method="GET")
    assert "Content-Digest" in headers
    assert signatures.verify(KEY.public_key(), "GET", URL, headers, b"", NOW)


def test_two_signatures_never_share_a_nonce() -> None:
    nonces = {
        signatures.verify(KEY.public_key(), "POST", URL, signed(), BODY, NOW).nonce
        for _ in range(20)
    }
    assert len(nonces) == 20


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "PUT"},
        {"url": "http://plane.example:8080/v1/windows?a=1"},
        {"url": "http://plane.example:8080/v1/report?a=2"},
    ],
)
def test_a_changed_request_does_not_verify(changed: dict[str, object]) -> None:
    assert "must fit the request and the key, got " in refusal(signed(), **changed)


def test_a_changed_body_does_not_verify() -> None:
    assert refusal(signed(), body=b'{"moves": 4}') == (
        f"[E401] signature of POST /v1/report by {KEY_ID} must fit the request and the key, "
        "got Content-Digest does not match the message body"
    )


def test_a_changed_version_does_not_verify() -> None:
    assert "must fit the request" in refusal(signed() | {VERSION_HEADER: "2"})


def test_another_key_does_not_verify() -> None:
    with pytest.raises(SignatureError) as caught:
        signatures.verify(keys.generate().public_key(), "POST", URL, signed(), BODY, NOW)
    assert str(caught.value) == (
        f"[E401] signature of POST /v1/report by {KEY_ID} must fit the request and the key, "
        "got a signature by another key or over other content"
    )


@pytest.mark.parametrize(("off", "got"), [(301, "301 s ahead"), (-301, "301 s behind")])
def test_a_wrong_clock_is_said_with_its_error(off: float, got: str) -> None:
    assert refusal(signed(now=int(NOW) + off), now=int(NOW)) == (
        "[E401] signature's created must be within 300 s of this side's clock, "
        f"got {got}. Correct the device's clock by the reply's Edgeloop-Time"
    )


@pytest.mark.parametrize("left_out", signatures.COVERED[:3])
def test_a_good_signature_that_covers_too_little_is_refused(
    left_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    covered = tuple(name for name in signatures.COVERED if name != left_out)
    with monkeypatch.context() as patch:
        patch.setattr(signatures, "COVERED", (*covered[:2], "content-digest", "content-digest"))
        headers = signed()
    assert f'Required component "{left_out}" was not covered' in refusal(headers)


def test_an_unsigned_request_is_refused() -> None:
    assert refusal({}) == "[E401] request must be signed, got no Signature-Input header"


@pytest.mark.parametrize("field", ["", "a=1, b=2", "((((", 'a=("@method");nonce="x", b=()'])
def test_an_unreadable_signature_is_refused(field: str) -> None:
    assert refusal({"Signature-Input": field}) == (
        "[E401] Signature-Input must hold one readable signature"
    )


def test_a_signature_without_key_id_is_refused() -> None:
    assert refusal({"Signature-Input": 'a=("@method");created=1'}) == (
        "[E401] Signature-Input must carry the parameter keyid"
    )


def test_a_key_file_comes_back_as_it_was_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    keys.save(KEY, tmp_path / "device.pem")
    assert (tmp_path / "device.pem").stat().st_mode & 0o777 == 0o600
    assert keys.fingerprint(keys.load(tmp_path / "device.pem").public_key()) == KEY_ID
    assert os.listdir(tmp_path) == ["device.pem"]  # noqa: PTH208  (hidden files count)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    keys.save(KEY, tmp_path / "device.pem")
    with pytest.raises(KeyFileError) as caught:
        keys.save(keys.generate(), tmp_path / "device.pem")
    assert str(caught.value) == (
        f"[E405] key file {tmp_path / 'device.pem'} must not be there yet. "
        "A key is never overwritten"
    )
    assert keys.fingerprint(keys.load(tmp_path / "device.pem").public_key()) == KEY_ID


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.pem"
    keys.save(KEY, path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError) as caught:
        keys.load(path)
    assert str(caught.value) == (
        f"[E405] key file {path} must be readable by its owner alone (mode 0600), "
        f"got mode 0640. If nobody else can have read it: chmod 600 {path}; "
        "otherwise make a new key"
    )


def test_a_missing_key_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        keys.load(tmp_path / "device.pem")
    assert str(caught.value) == (
        f"[E405] key file {tmp_path / 'device.pem'} must be a readable file, "
        "got No such file or directory"
    )


def test_a_broken_or_other_key_is_refused(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for content in (b"not a key", other):
        path = tmp_path / "device.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeyFileError) as caught:
            keys.load(path)
        assert str(caught.value) == (
            f"[E405] key file {path} must hold an Ed25519 private key in PEM"
        )


def test_a_public_key_travels_as_text() -> None:
    text = keys.public_pem(KEY.public_key())
    assert keys.fingerprint(keys.read_public(text)) == KEY_ID
    with pytest.raises(KeyFileError) as caught:
        keys.read_public("nonsense")
    assert str(caught.value) == "[E405] public key must be an Ed25519 or a P-256 public key in PEM"
