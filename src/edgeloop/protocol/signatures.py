"""Sign and verify requests: HTTP Message Signatures (RFC 9421) with Ed25519 or ECDSA P-256.

Covered are ``@method``, ``@path``, ``@query`` and ``content-digest`` (RFC 9530), and the protocol's
version where a request names it. ``@authority`` is not, so that identity survives proxies and load
balancers that rewrite the host. Whoever verifies remembers (key, nonce) for the window.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import http_sf
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    MappingKeyResolver,
    algorithms,
)

from edgeloop.errors import SignatureError
from edgeloop.protocol import keys
from edgeloop.protocol.keys import PublicKey, Signer
from edgeloop.protocol.messages import VERSION_HEADER

COVERED = ("@method", "@path", "@query", "content-digest")
WINDOW = 300.0  # seconds that ``created`` may differ from the verifier's clock, either way
LABEL = "edgeloop"
HEADERS = ("Content-Digest", "Signature-Input", "Signature")


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What a good signature says beside the request itself."""

    key_id: str
    nonce: str
    created: int  # Unix seconds by the signer's clock
    fingerprint: str = ""  # of the public key that verified it


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A request as the library reads it."""

    method: str
    url: str
    headers: dict[str, str]


def sign(
    key: Signer,
    key_id: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
) -> dict[str, str]:
    """The headers to add to a request: Content-Digest, Signature-Input and Signature.

    ``url`` is absolute; only its path and query are covered. ``now`` is in Unix seconds.
    """
    version = {name: value for name, value in headers.items() if _same(name, VERSION_HEADER)}
    request = _Request(method=method.upper(), url=url, headers=version)
    signer = HTTPMessageSigner(
        signature_algorithm=_algorithm(key.public_key()),
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={key_id: key}),
    )
    signer.sign(
        request,
        key_id=key_id,
        created=datetime.fromtimestamp(int(now), UTC),
        nonce=secrets.token_hex(16),
        label=LABEL,
        covered_component_ids=COVERED[:3] + tuple(name.lower() for name in version),
        body=body,
    )
    return {name: request.headers[name] for name in HEADERS}


def verify(
    public_key: PublicKey,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    window: float = WINDOW,
) -> Signed:
    """Check a request's signature. Replay is the caller's to refuse, by the nonce.

    Raises:
        SignatureError: it is missing, malformed, covers too little, is not by ``public_key``, does
            not fit the request, or was created more than ``window`` seconds from ``now``.
    """
    request = _Request(method=method.upper(), url=url, headers=dict(headers))
    key_id = key_id_of(headers)
    verifier = _Verifier(public_key, key_id, now, window)
    try:
        results = verifier.verify(request, max_age=None, require_components=COVERED, body=body)
    except HTTPMessageSignaturesException as error:
        raise SignatureError(
            f"signature of {request.method} {_path(url)} by {key_id}",
            "must fit the request and the key",
            got=str(error) or "a signature by another key or over other content",
        ) from error
    parameters = results[0].parameters
    nonce = parameters.get("nonce")
    if not nonce or "alg" not in parameters:
        raise SignatureError(f"signature by {key_id}", "must carry the parameters nonce and alg")
    return Signed(
        key_id=key_id,
        nonce=str(nonce),
        created=int(parameters["created"]),
        fingerprint=keys.fingerprint(public_key),
    )


class _Ed25519(algorithms.HTTPSignatureAlgorithm):  # type: ignore[misc]  # as below
    """The library's algorithm, with a :class:`Signer` that may be a chip."""

    algorithm_id = "ed25519"

    def __init__(
        self, public_key: PublicKey | None = None, private_key: Signer | None = None
    ) -> None:
        self._public, self._signer = public_key, private_key

    def sign(self, message: bytes) -> bytes:
        """The library calls it where a private key was given."""
        return cast("Signer", self._signer).sign(message)

    def verify(self, signature: bytes, message: bytes) -> None:
        """The library calls it where a public key was given."""
        if not keys.fits(cast("PublicKey", self._public), signature, message):
            raise InvalidSignature


class _EcdsaP256(_Ed25519):
    algorithm_id = "ecdsa-p256-sha256"


def _algorithm(key: PublicKey) -> type[_Ed25519]:
    """What a key signs with; what a request says of itself must be the same."""
    return _Ed25519 if isinstance(key, Ed25519PublicKey) else _EcdsaP256


class _Verifier(HTTPMessageVerifier):  # type: ignore[misc]  # mypy's configuration skips the library
    """The library's verifier, with our clock in place of the system's."""

    def __init__(self, key: PublicKey, key_id: str, now: float, window: float) -> None:
        super().__init__(
            signature_algorithm=_algorithm(key),
            key_resolver=MappingKeyResolver(public_keys={key_id: key}, private_keys={}),
        )
        self._now, self._window = now, window

    def validate_created_and_expires(self, sig_input: Any, max_age: object = None) -> None:
        """Both ways within the window; ``max_age`` is the library's and not used."""
        del max_age
        created = sig_input.params.get("created")
        if created is None:
            raise SignatureError("signature", "must carry the parameter created")
        off = created - self._now
        if abs(off) > self._window:
            raise SignatureError(
                "signature's created",
                f"must be within {self._window:.0f} s of this side's clock",
                got=f"{abs(off):.0f} s {'ahead' if off > 0 else 'behind'}",
                todo="Correct the device's clock by the reply's Edgeloop-Time",
            )


def key_id_of(headers: Mapping[str, str]) -> str:
    """The ``keyid`` that a request claims, not verified.

    Raises:
        SignatureError: the request is not signed, or not readably, or more than once.
    """
    field = next((v for name, v in headers.items() if _same(name, "Signature-Input")), None)
    if field is None:
        raise SignatureError("request", "must be signed", got="no Signature-Input header")
    try:
        members = cast("dict[str, Any]", http_sf.parse(field.encode(), tltype="dictionary"))
        ((_, parameters),) = members.values()
    except (ValueError, TypeError) as error:
        raise SignatureError("Signature-Input", "must hold one readable signature") from error
    key_id = parameters.get("keyid")
    if not isinstance(key_id, str):
        raise SignatureError("Signature-Input", "must carry the parameter keyid")
    return key_id


def _same(name: str, other: str) -> bool:
    return name.lower() == other.lower()


def _path(url: str) -> str:
    return "/" + url.split("://", 1)[-1].partition("/")[2].partition("?")[0]
