"""People who hold keys, for tests: each signs a draft with a file of their own."""

from __future__ import annotations

from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from edgeloop.release import draft as drafts
from edgeloop.release import draft_trust, holders
from edgeloop.release.ceremony import Change
from edgeloop.release.draft import Draft
from edgeloop.release.repository import Repository

PASSPHRASE = b"correct horse battery"
THREE = ("anna", "ben", "cleo")


class People:
    """Their keys lie in ``folder``; a draft goes round as a file."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository, self.folder, self.count = repository, folder, 0
        folder.mkdir()

    def key(self, name: str) -> Path:
        path = self.folder / f"{name}.pem"
        if not path.exists():
            holders.make(path, PASSPHRASE)
        return path

    def holding(self, threshold: int, *names: str) -> holders.Holding:
        public = [holders.read_public(self.key(name).with_suffix(".pub")) for name in names]
        return holders.Holding(threshold=threshold, keys=tuple(public))

    def draft(
        self,
        fresh: tuple[str, ...] = (),
        channels: tuple[str, ...] = (),
        **holdings: holders.Holding,
    ) -> Path:
        change = Change(holdings=holdings, fresh=fresh, channels=channels)
        self.count += 1
        path = self.folder / f"{self.count}.draft"
        drafts.begin(self.repository.draft(change), path)
        return path

    def sign(self, path: Path, *names: str) -> Draft:
        """``root`` signs with the file in the repository's folder of keys."""
        for name in names:
            file = self.repository.keys / "root.pem" if name == "root" else self.key(name)
            read, kept = drafts.read(path), draft_trust.beside(file)
            draft_trust.look(read, kept if kept.exists() else None)
            read.sign(holders.open_key(file, lambda: PASSPHRASE))
            drafts.save(read, path)
            draft_trust.keep(read, file)
        return drafts.read(path)

    def publish(self, path: Path, *names: str) -> None:
        self.repository.publish_draft(self.sign(path, *names))

    def take_over(self) -> None:
        """Three hold root and targets from now on, and two of them sign."""
        three = self.holding(2, *THREE)
        self.publish(self.draft(root=three, targets=three), "root", "anna", "ben")


class _Fetcher(FetcherInterface):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _fetch(self, url: str):
        path = self.folder / url.removeprefix("http://host/")
        if not path.is_file():
            raise DownloadHTTPError("not there", 404)
        yield path.read_bytes()


def ngclient(repository: Repository, folder: Path, root: bytes) -> list[int]:
    """Refresh with python-tuf's own client alone; the versions of root, targets and the channel."""
    folder.mkdir(exist_ok=True)
    updater = Updater(
        str(folder),
        "http://host/metadata",
        str(folder),
        "http://host/targets",
        fetcher=_Fetcher(repository.folder),
        bootstrap=root,
    )
    updater.refresh()
    assert updater.get_targetinfo("stable/sorter.json") is not None
    trusted = updater._trusted_set
    return [trusted.root.version, trusted.targets.version, trusted["stable"].version]
