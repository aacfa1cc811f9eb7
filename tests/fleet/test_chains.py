"""Which certificates a factory's authority vouches for, and which serial numbers they name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from claiming import p256
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeloop.errors import FactoryError
from edgeloop.fleet import chains
from edgeloop.protocol import keys
from edgeloop.testing.factory import Line, line

NOW = 1_800_000_000.0
KEY = p256().public_key()
FACTORY = line()
USES = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip


def looked_at(pem: str, ca: Line, now: float) -> str:
    chain = chains.read(pem)
    assert chains.is_below(chain, ca.certificate)
    chains.check(chain, ca.certificate, now)
    return chain.serial


def refused(pem: str, ca: Line = FACTORY) -> str:
    with pytest.raises(FactoryError) as caught:
        looked_at(pem, ca, NOW)
    return str(caught.value).removeprefix("[E611] factory certificate ")


def believed(pem: str, ca: Line = FACTORY) -> str:
    return looked_at(pem, ca, NOW)


@pytest.mark.parametrize("key", [KEY, keys.generate().public_key()], ids=["p256", "ed25519"])
def test_a_certificate_of_the_factory_names_its_serial_number(key: keys.PublicKey) -> None:
    assert believed(FACTORY.device("SN-0001", key)) == "SN-0001"


def test_authorities_may_lie_between_and_the_root_may_come_along() -> None:
    plant = FACTORY.below("plant 1", longest=1).below("line 7")
    pem = plant.device("SN-1", KEY)
    assert believed(pem) == "SN-1"
    assert believed(pem + FACTORY.pem) == "SN-1"


def test_another_factory_of_the_same_name_is_another_factory() -> None:
    chain = chains.read(line().device("SN-1", KEY))
    assert not chains.is_below(chain, FACTORY.certificate)


def test_a_device_issues_no_devices() -> None:
    key = p256()
    own = x509.load_pem_x509_certificate(FACTORY.device("SN-1", key.public_key()).encode())
    fake = Line(key=key._key, certificate=own, above=(own,))
    assert refused(fake.device("SN-2", KEY)) == (
        "must be issued by authorities alone, got 2.5.4.5=SN-1,CN=device"
    )


def test_a_path_is_as_long_as_each_authority_allows() -> None:
    short = line(longest=0)
    assert believed(short.device("SN-1", KEY), short) == "SN-1"
    assert refused(short.below("plant 1").device("SN-1", KEY), short) == (
        "must have at most 0 authorities below CN=Acme cameras, got 1"
    )
    deep = FACTORY.below("1", longest=None).below("2", longest=None).below("3", longest=None)
    assert believed(deep.device("SN-1", KEY)) == "SN-1"
    assert refused(deep.below("4").device("SN-1", KEY)) == "must come with at most 3 others, got 4"


def test_dates_are_held_against_this_sides_clock() -> None:
    late = FACTORY.device("SN-1", KEY, ends=datetime(2026, 1, 1, tzinfo=UTC))
    assert refused(late) == (
        "must be valid on 2027-01-15, by this side's clock, "
        "got 2.5.4.5=SN-1,CN=device: 2020-01-01 to 2026-01-01"
    )
    early = FACTORY.below("plant", began=datetime(2028, 1, 1, tzinfo=UTC)).device("SN-1", KEY)
    assert refused(early).endswith("got CN=plant: 2028-01-01 to 9999-12-31")


@pytest.mark.parametrize(
    ("extension", "critical", "why"),
    [
        (x509.KeyUsage(**USES | {"key_agreement": True}), True, "for signatures (key usage)"),
        (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
            False,
            "for clients (extended key usage)",
        ),
    ],
)
def test_a_certificate_for_another_use_does_not_claim(
    extension: x509.ExtensionType, critical: bool, why: str
) -> None:
    pem = FACTORY.device("SN-1", KEY, extensions=[(extension, critical)])
    assert refused(pem) == f"must be {why}"


def test_what_is_critical_and_not_known_is_refused() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert believed(FACTORY.device("SN-1", KEY, extensions=[(strange, False)])) == "SN-1"
    assert refused(FACTORY.device("SN-1", KEY, extensions=[(strange, True)])) == (
        "must have no critical extension that is not known here, got 1.2.3.4"
    )


def test_a_weak_hash_is_refused() -> None:
    pem = FACTORY.device("SN-1", KEY, sha=hashes.SHA224())
    assert refused(pem) == "must be signed over SHA-2 of 256 bits or more, got sha224"


def test_a_key_that_signs_nothing_here_is_refused() -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    assert refused(FACTORY.device("SN-1", key)) == (  # type: ignore[arg-type]
        "must have an Ed25519 or a P-256 key"
    )


def test_a_serial_number_may_stand_in_the_alternative_name() -> None:
    def named(*names: x509.GeneralName) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
        extension = (x509.SubjectAlternativeName(names), False)
        return FACTORY.device("", KEY, subject=subject, extensions=[extension])

    assert believed(named(x509.UniformResourceIdentifier("urn:dev:sn-7"))) == "urn:dev:sn-7"
    two = named(x509.DNSName("a"), x509.DNSName("b"))
    rule = (
        "must name one serial number (subject serialNumber, or else one DNS name or URI), of up to"
        " 64 of A-Z a-z 0-9 . _ : -, got "
    )
    assert refused(two) == f"{rule}'a', 'b'"
    assert refused(FACTORY.device("../x", KEY)) == f"{rule}'../x'"


@pytest.mark.parametrize("pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_is_refused(pem: str) -> None:
    assert refused(pem) == "must be a chain of certificates in PEM that can be read"


def test_a_devices_certificate_is_no_authority() -> None:
    with pytest.raises(FactoryError) as caught:
        chains.authority(FACTORY.device("SN-1", KEY))
    assert str(caught.value) == (
        "[E611] factory's authority must be a certificate that may sign others (CA)"
    )
