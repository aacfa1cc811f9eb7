"""Release keys: one Ed25519 key per TUF role, as PEM files that only their owner can read.

A key that replaces another waits in ``<role>.next.pem`` until signed metadata names it; the one
that it replaces is kept aside as ``<role>.<number>.retired``.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop import durable
from edgeloop.errors import KeyFileError
from edgeloop.protocol import keys

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

ROLES = ("root", "targets", "snapshot", "timestamp")


def generate(folder: Path, channels: tuple[str, ...]) -> dict[str, CryptoSigner]:
    """Make the keys that ``folder`` does not have yet; gives a signer per role and channel."""
    _private(folder)
    for role in (*ROLES, *channels):
        if not _file(folder, role).exists():
            keys.save(keys.generate(), _file(folder, role))
    return {role: signer(folder, role) for role in (*ROLES, *channels)}


def signer(folder: Path, role: str) -> CryptoSigner:
    """The signer of one role.

    Raises:
        KeyFileError: the file is missing, broken, or readable by others than its owner.
    """
    path = _file(folder, role)
    if not path.is_file():
        raise KeyFileError(f"key file {path}", "must be there", todo=f"Put it back{instead(role)}")
    return _open(path)


def instead(role: str) -> str:
    """What else a message can advise; root's key alone cannot be replaced without itself."""
    return "" if role == "root" else f", or run `edgeloop release keys rotate {role}`"


def next_signer(folder: Path, role: str) -> CryptoSigner | None:
    """The signer of the key that waits to replace a role's; None when none waits."""
    path = _next(folder, role)
    return _open(path) if path.is_file() else None


def make_next(folder: Path, role: str) -> CryptoSigner:
    """Make the key that is to replace a role's, in place of one that no metadata ever named."""
    _private(folder)
    path = _next(folder, role)
    path.unlink(missing_ok=True)
    keys.save(keys.generate(), path)
    return _open(path)


def take_over(folder: Path, role: str) -> None:
    """Put the key that waits in the place of the role's, which is kept aside."""
    old = _file(folder, role)
    if old.exists():
        names = (folder / f"{role}.{number}.retired" for number in count(1))
        durable.settle(old, next(name for name in names if not name.exists()))
    durable.settle(_next(folder, role), old)


def _open(path: Path) -> CryptoSigner:
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner(keys.load(path))


def _private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _file(folder: Path, role: str) -> Path:
    return folder / f"{role}.pem"


def _next(folder: Path, role: str) -> Path:
    return folder / f"{role}.next.pem"
