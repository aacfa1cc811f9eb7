"""Installed bundles as immutable folders, and the one file that says which is in charge.

``slots/<hex>/manifest.json`` and ``slots/<hex>/files/<name>`` (hard links of verified blobs).
``slots.json`` names the current and the previous slot; its rename is the switch.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeloop import durable
from edgeloop.errors import AgentFolderError, BundleError, NoSlotError
from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release.bundle import Bundle, layers_of, open_bundle
from edgeloop.types import Layer

logger = logging.getLogger(__name__)

FORMAT = 1
CHUNK = 1 << 20


class Failed(BaseModel):
    """Why a bundle is not tried again, and in which rollout it was tried."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reason: str
    rollout: int | None = None


class Pointers(BaseModel):
    """What ``slots.json`` says. ``switched_after`` is the journal's last row before the switch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    current: ReleaseRef | None = None
    previous: ReleaseRef | None = None
    switched_after: int = 0
    failed: dict[str, Failed] = {}


class Slots:
    """The slots under ``folder``. Not safe for several threads; the agent holds a lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "slots"
        self._file = folder / "slots.json"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.now = _read(self._file)

    def install(self, ref: ReleaseRef, manifest: bytes, blobs: Mapping[str, Path]) -> None:
        """Make the folder of a slot out of verified blobs (layer digest -> file).

        A folder that is there already is checked, and made anew when a byte of it has changed.

        Raises:
            BundleError: the manifest breaks a rule.
            DiskFullError: no room; nothing half-made stays in the slot's place.
        """
        place = self._place(ref.digest)
        if place.exists():
            try:
                self.check(ref)
            except BundleError:
                shutil.rmtree(place)
            else:
                return
        half = place.with_name(f".{place.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        with durable.room(half):
            (half / "files").mkdir(parents=True)
            for layer in layers_of(manifest, ref.digest):
                os.link(blobs[layer.digest], half / "files" / layer.name)
        durable.write(half / "manifest.json", manifest)
        durable.sync_folder(half / "files")
        durable.settle(half, place)

    def open(self, ref: ReleaseRef) -> Bundle:
        """The bundle of a slot, once every byte was checked.

        Raises:
            BundleError: a file is missing, changed, or cannot be read.
        """
        self.check(ref)
        with _readable(ref):
            return open_bundle(ref.digest, self._files(ref))

    def files(self, ref: ReleaseRef) -> dict[str, Path]:
        """The files of a slot by name, once every byte was checked.

        Raises:
            BundleError: a file is missing, changed, or cannot be read.
        """
        self.check(ref)
        return self._files(ref)

    def beside(self, name: str) -> Path:
        """A file of this name where ``slots.json`` is."""
        return self._file.with_name(name)

    def folder(self, ref: ReleaseRef) -> Path:
        """Where the files of a slot lie; nothing is checked."""
        return self._place(ref.digest) / "files"

    def check(self, ref: ReleaseRef) -> None:
        """Return when the slot's files have the digests that its manifest names.

        Raises:
            BundleError: a file is missing, changed, or cannot be read.
        """
        for layer in self.layers(ref):
            path = self._place(ref.digest) / "files" / layer.name
            with _readable(ref):
                got = _digest(path) if path.is_file() else "no file"
            if got != layer.digest:
                raise BundleError(
                    f"file {layer.name} of bundle {ref.digest}",
                    f"must have digest {layer.digest}",
                    got=got,
                    todo="The slot is not used",
                )

    def layers(self, ref: ReleaseRef) -> tuple[Layer, ...]:
        """The files of an installed slot.

        Raises:
            BundleError: the slot is not installed, or its manifest is broken or cannot be read.
        """
        path = self._place(ref.digest) / "manifest.json"
        with _readable(ref):
            if not path.is_file():
                raise BundleError(f"bundle {ref.digest}", "must be installed", got="no manifest")
            return layers_of(path.read_bytes(), ref.digest)

    def switch(self, ref: ReleaseRef, journal_row: int) -> None:
        """Put an installed slot in charge; the current one becomes the previous. One rename."""
        current = self.now.current
        if current is not None and current.digest == ref.digest:
            return
        self._save(
            self.now.model_copy(
                update={"current": ref, "previous": current, "switched_after": journal_row}
            )
        )
        logger.info("switch.done version=%s bundle=%s", ref.version, ref.digest)

    def restore(self, journal_row: int) -> None:
        """Put the previous slot (or none, where there was none) back in charge. One rename."""
        self._save(
            self.now.model_copy(
                update={
                    "current": self.now.previous,
                    "previous": None,
                    "switched_after": journal_row,
                }
            )
        )
        current = self.now.current
        logger.info("restore.done version=%s", current.version if current else None)

    def recount(self, journal_row: int) -> None:
        """Count from a journal that lost its newest rows, or all: it never has fewer than none."""
        if self.now.switched_after > journal_row:
            self._save(self.now.model_copy(update={"switched_after": journal_row}))

    def remember(self, ref: ReleaseRef, failed: Failed) -> None:
        """Do not try this bundle again in this rollout."""
        self._save(self.now.model_copy(update={"failed": {**self.now.failed, ref.digest: failed}}))

    def forget(self, ref: ReleaseRef) -> None:
        """It may be tried again."""
        failed = {k: v for k, v in self.now.failed.items() if k != ref.digest}
        if failed != self.now.failed:
            self._save(self.now.model_copy(update={"failed": failed}))

    def forget_all(self) -> None:
        """Every bundle may be tried again."""
        if self.now.failed:
            self._save(self.now.model_copy(update={"failed": {}}))

    def current(self) -> ReleaseRef:
        """The release in charge.

        Raises:
            NoSlotError: there is none.
        """
        if self.now.current is None:
            raise NoSlotError(
                "device", "must have an installed bundle", todo="Wait for its first release"
            )
        return self.now.current

    def clean(self) -> frozenset[str]:
        """Remove every slot but current and previous; gives the digests of files still needed."""
        kept = [ref for ref in (self.now.current, self.now.previous) if ref is not None]
        names = {self._place(ref.digest).name for ref in kept}
        for place in self._folder.iterdir():
            if place.name not in names:
                shutil.rmtree(place, ignore_errors=True)  # a broken disk may keep it; once again
        return frozenset(layer.digest for ref in kept for layer in self._known_layers(ref))

    def _known_layers(self, ref: ReleaseRef) -> tuple[Layer, ...]:
        try:
            return self.layers(ref)
        except BundleError as fault:
            logger.warning("clean.failed version=%s fault=%s", ref.version, fault)
            return ()

    def _place(self, digest: str) -> Path:
        return self._folder / digest.removeprefix("sha256:")

    def _files(self, ref: ReleaseRef) -> dict[str, Path]:
        place = self._place(ref.digest) / "files"
        return {layer.name: place / layer.name for layer in self.layers(ref)}

    def _save(self, pointers: Pointers) -> None:
        durable.write(self._file, pointers.model_dump_json().encode())
        self.now = pointers


def _read(path: Path) -> Pointers:
    if not path.exists():
        return Pointers()
    try:
        return Pointers.model_validate_json(path.read_bytes())
    except ValidationError as fault:
        raise AgentFolderError(
            f"file {path}", "must name the slots of a device", got=f"{fault.error_count()} faults"
        ) from fault


@contextmanager
def _readable(ref: ReleaseRef) -> Iterator[None]:
    """Turn a disk that cannot read a slot into our error: another slot can still be good."""
    try:
        yield
    except OSError as fault:
        raise BundleError(
            f"bundle {ref.digest}",
            "must be readable",
            got=fault.strerror,
            todo="The slot is not used",
        ) from fault


def _digest(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            hasher.update(chunk)
    return f"sha256:{hasher.hexdigest()}"
