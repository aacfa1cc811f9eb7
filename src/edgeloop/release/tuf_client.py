"""python-tuf's client, judging expiry by a time that it is given and keeping what it trusts synced.

The only module that reaches into what python-tuf calls its own (``_trusted_set``,
``_persist_file``); its version is pinned, and tests in ``tests/release/test_trust.py`` turn red
when a new one moves them.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tuf.ngclient import FetcherInterface, Updater

from edgeloop import durable

if TYPE_CHECKING:
    from tuf.api.metadata import Root, Timestamp
    from tuf.ngclient import TargetFile

TOP = ("timestamp", "snapshot", "targets")


class TufClient(Updater):
    """One look at a repository. ``folder`` gets ``metadata`` and ``targets``."""

    def __init__(
        self,
        folder: Path,
        root: bytes,
        urls: tuple[str, str],
        fetcher: FetcherInterface,
    ) -> None:
        for name in ("metadata", "targets"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        metadata, targets = str(folder / "metadata"), str(folder / "targets")
        super().__init__(metadata, urls[0], targets, urls[1], fetcher=fetcher, bootstrap=root)

    def judge_by(self, now: float) -> None:
        """Take ``now``, Unix seconds, for the time by which metadata expires."""
        self._trusted_set.reference_time = datetime.fromtimestamp(now, UTC)

    @property
    def root(self) -> Root:
        """The newest root metadata that is trusted."""
        return self._trusted_set.root

    @property
    def timestamp(self) -> Timestamp:
        """The timestamp that is trusted; there is one after ``refresh``."""
        return self._trusted_set.timestamp

    def versions(self) -> dict[str, int]:
        """Role -> version, of those that are trusted by now, root left out."""
        trusted = self._trusted_set
        found = [role for role in TOP if role in trusted]
        for role in found:  # which grows by the roles that it delegates to
            delegations = getattr(trusted[role], "delegations", None)
            named = (delegations and delegations.roles) or {}
            found += [name for name in named if name in trusted and name not in found]
        return {role: trusted[role].version for role in found}

    def read_target(self, info: TargetFile) -> bytes:
        """The bytes of a target: from the cache if they are still those that are signed."""
        path = Path(self.target_dir or "", quote(info.path, ""))
        if self.find_cached_target(info, str(path)) is None:
            draft = path.with_name(f".{path.name}.new")
            self.download_target(info, str(draft))
            with draft.open("rb") as stream:
                os.fsync(stream.fileno())
            durable.settle(draft, path)
        return path.read_bytes()

    def _persist_file(self, filename: str, data: bytes) -> None:
        """As python-tuf's, which renames but does not sync; nothing where it is there already."""
        path = Path(filename)
        if not path.is_file() or path.read_bytes() != data:
            durable.write(path, data, thing="signed metadata on this device")
