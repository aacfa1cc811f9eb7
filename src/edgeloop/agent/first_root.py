"""The root metadata that a device is given to trust first, looked at before it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.errors import EnrolmentError, SignatureError

if TYPE_CHECKING:
    from pathlib import Path

THING = "first root metadata"


def read(path: Path) -> bytes:
    """The bytes of the file that a person names; :func:`check` looks at what they say.

    Raises:
        EnrolmentError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as fault:
        raise EnrolmentError(
            f"{THING} {path}", "must be a readable file", got=fault.strerror
        ) from fault


def check(root: bytes) -> None:
    """Return when ``root`` is signed by as many of its own root keys as it asks for.

    Its date is not looked at: of an expired one the way to a newer root still holds.

    Raises:
        SignatureError: it is no TUF root metadata, was changed, or is signed by too few.
    """
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    try:
        metadata = Metadata[Root].from_bytes(root)
        if not isinstance(metadata.signed, Root):
            raise _refused(f"metadata of type {metadata.signed.type}")
        metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    except RepositoryError as fault:
        raise _refused(fault) from fault


def _refused(got: object) -> SignatureError:
    return SignatureError(
        THING,
        "must be TUF root metadata, signed by its own keys",
        got=got,
        todo="Bring the repository's 1.root.json by a trusted way; the token was not spent",
    )
