"""Where a device's key lives, with the one that is to follow it: a file, or what a URI names.

``file:`` is the device's folder. ``pkcs11:`` (RFC 7512) is a TPM or secure element behind a PKCS#11
module. Others register theirs under the entry point group ``edgeloop.key_places``, by the URI's
scheme; it is called with the URI and the device's folder, and gives a :class:`Place`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

from edgeloop import durable
from edgeloop.agent.settings import KEY
from edgeloop.errors import KeyPlaceError
from edgeloop.protocol import keys

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.protocol.keys import Signer

GROUP = "edgeloop.key_places"
HERE = "file:"
NEXT = "device-next.pem"


class Place(Protocol):
    """Keeps a device's key and, during a rotation, the next one. Each lasts once it is made.

    Raises KeyPlaceError, or KeyFileError, for what it cannot do.
    """

    def current(self) -> Signer | None:
        """The device's key; None where there is none yet."""

    def make(self) -> Signer:
        """A new key, where there is none."""

    def upcoming(self) -> Signer | None:
        """The next key; None where none was made."""

    def make_upcoming(self) -> Signer:
        """A next key, where there is none."""

    def adopt(self) -> None:
        """Let the next key be the device's. Cut off at any point, one of the two is there."""


class FilePlace:
    """Two files of the device's folder, readable by their owner alone. See :class:`Place`."""

    def __init__(self, _uri: str, folder: Path) -> None:
        self._key, self._next = folder / KEY, folder / NEXT

    def current(self) -> Signer | None:
        """The device's key."""
        return keys.load_signer(self._key) if self._key.exists() else None

    def make(self) -> Signer:
        """Ed25519."""
        keys.save(keys.generate(), self._key)
        return keys.load_signer(self._key)

    def upcoming(self) -> Signer | None:
        """The next key."""
        return keys.load_signer(self._next) if self._next.exists() else None

    def make_upcoming(self) -> Signer:
        """Ed25519."""
        keys.save(keys.generate(), self._next)
        return keys.load_signer(self._next)

    def adopt(self) -> None:
        """One rename, which the key before does not survive."""
        durable.settle(self._next, self._key)


def place(uri: str, folder: Path) -> Place:
    """What a URI names.

    Raises:
        KeyPlaceError: nothing that is installed keeps keys there.
    """
    scheme = uri.partition(":")[0]
    if scheme == "file":
        return FilePlace(uri, folder)
    if scheme == "pkcs11":
        from edgeloop.agent.pkcs11_place import Pkcs11Place  # what a file's device need not hold

        return Pkcs11Place(uri, folder)
    for point in entry_points(group=GROUP, name=scheme):
        found: Place = point.load()(uri, folder)
        return found
    raise KeyPlaceError(
        f"place of keys {scheme}:",
        "must be one that is installed here",
        got="file:, pkcs11: and no other",
        todo=f"Install the package that has it as an entry point of {GROUP}",
    )


def key_of(uri: str, folder: Path) -> Signer:
    """The key of an enrolled device.

    Raises:
        KeyPlaceError: there is none.
        KeyFileError: its file is missing, broken, or readable by others.
    """
    if uri == HERE:
        return keys.load_signer(folder / KEY)  # which says what is wrong with it
    key = place(uri, folder).current()
    if key is None:
        raise KeyPlaceError("device's key", "must be where it was made", todo="Enrol it again")
    return key
