"""Release keys: one Ed25519 key per TUF role, as PEM files that only their owner can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.errors import KeyFileError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

ROLES = ("root", "targets", "snapshot", "timestamp")


def generate(folder: Path, channels: tuple[str, ...]) -> dict[str, CryptoSigner]:
    """Make the keys that ``folder`` does not have yet; gives a signer per role and channel."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {role: _load_or_make(folder / f"{role}.pem") for role in (*ROLES, *channels)}


def signer(folder: Path, role: str) -> CryptoSigner:
    """The signer of one role.

    Raises:
        KeyFileError: the file is missing, broken, or readable by others than its owner.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    path = folder / f"{role}.pem"
    if not path.is_file():
        raise KeyFileError(
            f"key file {path}", "must be there", todo="Make it with `edgeloop release keys`"
        )
    if path.stat().st_mode & 0o077:
        raise KeyFileError(
            f"key file {path}",
            "must be readable by its owner alone",
            got=f"mode {path.stat().st_mode & 0o777:o}",
            todo=f"Run `chmod 600 {path}`, or make a new key if others may have read it",
        )
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except (ValueError, TypeError) as fault:
        raise KeyFileError(
            f"key file {path}", "must be an unencrypted PEM private key", got=fault
        ) from fault


def _load_or_make(path: Path) -> CryptoSigner:
    from securesystemslib.signer import CryptoSigner

    if path.exists():
        return signer(path.parent, path.stem)
    fresh = CryptoSigner.generate_ed25519()
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_bytes(fresh.private_bytes)
    temporary.replace(path)
    return fresh
