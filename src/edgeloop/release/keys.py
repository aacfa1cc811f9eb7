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


def generate(folder: Path, roles: tuple[str, ...]) -> dict[str, CryptoSigner]:
    """Make the keys that ``folder`` does not have yet; gives a signer per role or channel."""
    _private(folder)
    for role in roles:
        if not _file(folder, role).exists():
            keys.save(keys.generate(), _file(folder, role))
    return {role: signer(folder, role) for role in roles}


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
    if _file(folder, role).exists():
        retire(folder, role)
    durable.settle(_next(folder, role), _file(folder, role))


def retire(folder: Path, role: str) -> None:
    """Keep a role's key aside: it signs no more."""
    durable.settle(_file(folder, role), *aside(folder, role, "retired"))


def aside(folder: Path, name: str, *endings: str) -> list[Path]:
    """``<name>.<number>.<ending>`` of each, with the first number that is free for all."""
    tried = ([folder / f"{name}.{number}.{ending}" for ending in endings] for number in count(1))
    return next(paths for paths in tried if not any(path.exists() for path in paths))


def _open(path: Path) -> CryptoSigner:
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner(keys.load(path))


def _private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _file(folder: Path, role: str) -> Path:
    return folder / f"{role}.pem"


def _next(folder: Path, role: str) -> Path:
    return folder / f"{role}.next.pem"
