"""A device's next key, which speaks for it beside the old one until it is first used."""

from __future__ import annotations

from sqlalchemy.orm import Session

from edgeloop.errors import SignatureError
from edgeloop.fleet.enrolment import brought, is_of, refuse_known_key
from edgeloop.fleet.models import DeviceRow
from edgeloop.protocol import proofs
from edgeloop.protocol.keys import fingerprint, public_pem
from edgeloop.protocol.messages import Rotate, Rotated


def rotate(session: Session, device: DeviceRow, message: Rotate) -> Rotated:
    """Let a further key speak for a device; one that was brought before is forgotten.

    The same key again gets the same answer, also when it is the device's only one by now.

    Raises:
        SignatureError: whoever brings the key does not hold it.
        ConflictError: it is another device's.
        ProtocolError: it is no public key.
    """
    key = brought(message.public_key, "rotation")
    if not proofs.holds(message.proof, key, proofs.Use.ROTATE, device.id):
        raise SignatureError("proof of the next key", "must be by that key, for this device")
    if not is_of(device, key):
        refuse_known_key(session, key, but=device.id)
        device.next_key = public_pem(key)
    return Rotated(fingerprint=fingerprint(key))
