"""A new key's word that whoever brings it holds it, and means this use of it and no other.

What is signed begins with a line of its own, so that it can never be read as a request.
"""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum

from edgeloop.protocol import keys
from edgeloop.protocol.keys import PublicKey, Signer


class Use(StrEnum):
    """What a new key is brought for."""

    CLAIM = "claim"  # of the factory key whose fingerprint is the subject
    ROTATE = "rotate"  # of the device whose id is the subject


def prove(key: Signer, use: Use, subject: str) -> str:
    """The proof, in base64."""
    return base64.b64encode(key.sign(_statement(use, subject, key.public_key()))).decode()


def holds(proof: str, key: PublicKey, use: Use, subject: str) -> bool:
    """Whether :func:`prove` made this with the private half of ``key``."""
    try:
        signature = base64.b64decode(proof, validate=True)
    except (binascii.Error, ValueError):
        return False
    return keys.fits(key, signature, _statement(use, subject, key))


def _statement(use: Use, subject: str, key: PublicKey) -> bytes:
    return f"edgeloop proof of a key, 1\n{use}\n{subject}\n{keys.public_pem(key)}".encode()
