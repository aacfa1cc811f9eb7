"""Find the files of a data set: each comes from the first origin that has its recorded bytes."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import logging
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass as value
from pathlib import Path

from edgeloop.errors import DataSourceError

logger = logging.getLogger(__name__)

SECONDS = 30.0  # without a byte before an address is given up
LARGEST = 128 * 2**20  # bytes that a file may have as it lies; and four times that, unpacked


class _AbsentError(Exception):
    """An origin does not give the file; the message says why."""


@value(frozen=True, kw_only=True)
class File:
    """One file of a data set: where it may be found, and what must be in it.

    ``package`` is (installed package, path inside it), ``folder`` where a system package puts it,
    ``address`` an official URL. ``packed`` says that it is a gzip file; ``sha256`` is then of the
    unpacked bytes, because packers differ in the header (Debian drops name and date).
    """

    name: str
    sha256: str
    package: tuple[str, str] | None = None
    folder: str | None = None
    address: str | None = None
    packed: bool = True


def found(dataset: str, files: Iterable[File], install: str) -> dict[str, tuple[str, bytes]]:
    """By name of each file: the origin that had it, and its unpacked bytes.

    ``install`` is what a person does to have the data set.

    Raises:
        DataSourceError: a file that no origin could give, with each origin and why.
    """
    return {file.name: _found(dataset, file, install) for file in files}


def _found(dataset: str, file: File, install: str) -> tuple[str, bytes]:
    failures = []
    for origin, read in _origins(file):
        try:
            packed = read()
            unpacked = _checked(packed, file)
        except _AbsentError as why:
            failures.append(f"{origin}: {why}")
            continue
        if origin.startswith("https:"):
            _remember(file, packed)
        return origin.partition(" ")[0], unpacked
    raise DataSourceError(
        f"{file.name} of {dataset}",
        "must come from one of its origins",
        got="; ".join(failures),
        todo=f"`{install}` brings it, or put the file into {_cache_folder()}",
    )


def _origins(file: File) -> list[tuple[str, Callable[[], bytes]]]:
    """What to try, in order: a name for people, and a call that gives the packed bytes."""
    tried: list[tuple[str, Callable[[], bytes]]] = []
    if file.package is not None:
        package, inside = file.package
        tried.append((f"package {package}", lambda: _from_package(package, inside)))
    if file.folder is not None:
        folder = Path(file.folder)
        tried.append((f"folder {folder}", lambda: _from_disk(folder / file.name)))
    cache = _cache_folder() / file.name
    tried.append((f"cache {cache.parent}", lambda: _from_disk(cache)))
    if file.address is not None:
        address = file.address
        tried.append((address, lambda: _from_address(address)))
    return tried


def _from_package(package: str, inside: str) -> bytes:
    """A file of an installed package, which is not imported: that would cost seconds."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _AbsentError("not installed")
    return _from_disk(Path(spec.submodule_search_locations[0]) / inside)


def _from_disk(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            packed = file.read(LARGEST + 1)
    except OSError as error:
        raise _AbsentError(error.strerror or str(error)) from error
    return packed


def _from_address(address: str) -> bytes:
    import urllib3

    try:
        with urllib3.PoolManager(retries=urllib3.Retry(2, backoff_factor=0.5)) as pool:
            answer = pool.request("GET", address, timeout=SECONDS, preload_content=False)
            packed: bytes = answer.read(LARGEST + 1)
            answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise _AbsentError(f"no answer ({type(error).__name__})") from error
    if answer.status != 200:
        raise _AbsentError(f"HTTP status {answer.status}")
    return packed


def _checked(packed: bytes, file: File) -> bytes:
    """The unpacked bytes, which have the recorded digest."""
    unpacked = _unpacked(packed) if file.packed else packed
    digest = hashlib.sha256(unpacked).hexdigest()
    if digest != file.sha256:
        raise _AbsentError(f"unpacked sha256 is {digest[:12]}.., not {file.sha256[:12]}..")
    return unpacked


def _unpacked(packed: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(packed)) as stream:
            return stream.read(4 * LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _AbsentError("is no whole gzip file") from error


def _cache_folder() -> Path:
    stated = os.environ.get("EDGELOOP_CACHE")
    if stated:
        return Path(stated)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeloop"


def _remember(file: File, packed: bytes) -> None:
    """Put a fetched file into the cache; a cache that cannot be written only costs time."""
    folder = _cache_folder()
    part = folder / f"{file.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_bytes(packed)
        part.replace(folder / file.name)
    except OSError as error:
        logger.warning("cache.failed folder=%s reason=%s", folder, error.strerror)
