"""The key with which a device speaks, and how another one follows it.

The next key is on the disk before the control plane hears of it; the control plane takes both from
then on; only then is the next key the device's, and with its first use the old one is none. Cut off
anywhere, the device holds a key that is taken, and goes on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edgeloop.errors import EdgeloopError
from edgeloop.protocol import keys
from edgeloop.protocol.messages import Rotate
from edgeloop.protocol.proofs import Use, prove

if TYPE_CHECKING:
    from edgeloop.agent.control_plane import ControlPlane
    from edgeloop.agent.key_places import Place

logger = logging.getLogger(__name__)


def rotate(place: Place, plane: ControlPlane, device: str) -> str:
    """Give the device a new key, or end what was cut off; gives the new key's fingerprint.

    Raises:
        KeyPlaceError, KeyFileError: no key can be made or kept.
        UnauthorizedError, UnreachableError: the control plane did not take it.
    """
    key = place.upcoming() or place.make_upcoming()
    proof = prove(key, Use.ROTATE, device)
    plane.rotate(Rotate(public_key=keys.public_pem(key.public_key()), proof=proof))
    place.adopt()
    plane.speak_with(place.current() or key)
    return keys.fingerprint(key.public_key())


class Rotation:
    """Rotates when an operator wants it, and ends a rotation that was cut off."""

    def __init__(self, place: Place, plane: ControlPlane, device: str) -> None:
        self._place, self._plane, self._device = place, plane, device
        self._due = False

    def follow(self, *, wanted: bool | None) -> None:
        """``wanted`` is what the control plane said newly; None where it said nothing.

        What goes wrong is tried again at the next call, and holds up nothing else.
        """
        if wanted is not None:
            self._due = wanted or self._begun()
        if not self._due:
            return
        try:
            made = rotate(self._place, self._plane, self._device)
        except EdgeloopError as fault:
            logger.warning("rotate.failed fault=%s", fault)
            return
        self._due = False
        logger.info("rotate.done key=%s", made)

    def _begun(self) -> bool:
        try:
            return self._place.upcoming() is not None
        except EdgeloopError as fault:
            logger.warning("rotate.failed fault=%s", fault)
            return False
