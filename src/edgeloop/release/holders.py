"""Keys of people: each holder's private half under a passphrase, and a public half to hand on.

The name of a public file is the holder's name: ``anna.pub`` is Anna's key. It travels in signed
metadata, so that everybody sees whose keys count.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeloop import durable
from edgeloop.errors import DraftError, KeyFileError, OverrideError
from edgeloop.protocol import keys

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key, SSlibKey

HOLDER = "x-edgeloop-holder"  # TUF lets a key carry fields of its own
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
ASKED = re.compile(r"\s*(\d{1,2}) of (.+)")
LEAST_PASSPHRASE = 12  # characters; whoever finds the file can try as fast as they like
MOST_KEYS = 16  # of one role
LARGEST_KEY = 1 << 16  # bytes
SPOKEN = 32  # hex digits that people compare; a key with the same 8 is found in some days


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Who may sign for a role, and how many of them must."""

    threshold: int
    keys: tuple[Key, ...]


def make(path: Path, passphrase: bytes) -> Path:
    """Make a holder's key in ``path``; gives the file of its public half, beside it.

    Raises:
        KeyFileError: one of the files is there already, or the passphrase is short.
        OverrideError: the file's name names nobody.
    """
    public = path.with_suffix(".pub")
    _refuse_odd_name(path)
    for file in (path, public):
        if os.path.lexists(file):
            raise _there(file)  # before either is written: two halves of one key, or nothing
    if len(passphrase) < LEAST_PASSPHRASE:
        rule = f"must be encrypted with a passphrase of {LEAST_PASSPHRASE} characters or more"
        raise KeyFileError(f"key file {path}", rule, got=len(passphrase))
    key = keys.generate()
    kind = serialization.BestAvailableEncryption(passphrase)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind)
    _write_new(path, pem, mode=0o600)
    _write_new(public, keys.public_pem(key.public_key()).encode(), mode=0o644)
    return public


def open_key(path: Path, passphrase: Callable[[], bytes]) -> CryptoSigner:
    """A holder's key, or one of a role that lies in a folder unencrypted.

    Raises:
        KeyFileError: it is missing, readable by others, no Ed25519 key, or not opened by the
            passphrase, which is asked for only where the file is encrypted.
    """
    from securesystemslib.signer import CryptoSigner

    pem, thing = keys.read_secret(path), f"key file {path}"
    encrypted = b"ENCRYPTED" in pem
    try:
        key = serialization.load_pem_private_key(pem, passphrase() if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        rule = "must open with this passphrase" if encrypted else "must hold a private key in PEM"
        raise KeyFileError(thing, rule) from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(thing, "must hold an Ed25519 private key in PEM")
    return CryptoSigner(key)


def read_public(path: Path) -> SSlibKey:
    """The public half in a file, with the holder's name.

    Raises:
        KeyFileError: it is missing, or no Ed25519 public key.
        OverrideError: the file's name names nobody.
    """
    from securesystemslib.signer import SSlibKey

    _refuse_odd_name(path)
    text = read_plain(path, LARGEST_KEY).decode("ascii", errors="replace")
    if "PRIVATE KEY" in text:
        raise KeyFileError(
            f"key file {path}",
            "must be the public half (.pub)",
            got="a private key",
            todo="A private key stays with its holder",
        )
    key = SSlibKey.from_crypto(keys.read_public(text))
    key.unrecognized_fields[HOLDER] = path.stem
    return key


def read_passphrase(path: Path) -> bytes:
    """The first line of a file, which may be a pipe of a password manager.

    Raises:
        KeyFileError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.readline(LARGEST_KEY).rstrip(b"\r\n")
    except OSError as fault:
        rule = "must be readable"
        raise KeyFileError(f"passphrase file {path}", rule, got=fault.strerror) from fault


def read_plain(path: Path, most: int) -> bytes:
    """A file that somebody else wrote: a plain one, no link, of at most ``most`` bytes.

    Raises:
        DraftError: it is not that.
    """
    thing = f"file {path}"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        raise DraftError(thing, "must be a file, no link", got=fault.strerror) from fault
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DraftError(thing, "must be a plain file")
        data = stream.read(most + 1)
    if len(data) > most:
        raise DraftError(thing, f"must have at most {most} bytes", got="more")
    return data


def asked(text: str, present: Iterable[Key]) -> Holding:
    """Understand ``2 of anna ben dora.pub``: holders that the role has by name, new ones by file.

    Raises:
        OverrideError: it is not of this form, or asks for more holders than there are.
        KeyFileError, DraftError: as for :func:`read_public`.
    """
    found = ASKED.fullmatch(text)
    words = found[2].split() if found else []
    known = list(present)
    chosen = {key.keyid: key for key in (_one(word, known) for word in words)}
    threshold = int(found[1]) if found else 0
    if not 0 < threshold <= len(chosen) <= MOST_KEYS:
        rule = f"must be such as '2 of anna.pub ben.pub cleo.pub', of {MOST_KEYS} at most"
        raise OverrideError(f"holders {text!r}", rule)
    return Holding(threshold=threshold, keys=tuple(chosen.values()))


def called(key: Key) -> str:
    """A key as people say it: ``anna (key 1a2b 3c4d ...)``."""
    name = holder(key)
    short = f"key {spoken(key.keyid)}"
    return f"{name} ({short})" if name else short


def spoken(digits: str) -> str:
    """As many hex digits of a hash as nobody can imitate, in groups that can be read aloud."""
    return " ".join(digits[at : at + 4] for at in range(0, SPOKEN, 4))


def holder(key: Key) -> str:
    """The holder's name; "" for a key that is nobody's in particular."""
    return str(key.unrecognized_fields.get(HOLDER, ""))


def _one(word: str, known: Iterable[Key]) -> Key:
    """A present holder, by name or by the first digits of the key's id; else a file."""
    for key in known:
        if word == holder(key) or (len(word) >= SPOKEN and key.keyid.startswith(word)):
            return key
    return read_public(Path(word))


def _refuse_odd_name(path: Path) -> None:
    if not NAME.fullmatch(path.stem):
        raise OverrideError(
            f"key file {str(path)!r}",
            "must be named after its holder: at most 40 letters, digits, '.', '_' and '-'",
        )


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    try:
        durable.create(path, data, mode=mode)
    except FileExistsError as fault:
        raise _there(path) from fault


def _there(path: Path) -> KeyFileError:
    rule = "must not be there yet"
    return KeyFileError(f"key file {path}", rule, todo="A key is never overwritten")
