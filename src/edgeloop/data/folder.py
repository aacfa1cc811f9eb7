"""A data set from a folder of images: one folder per class."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.data.snapshot import write
from edgeloop.errors import DataError, MissingExtraError
from edgeloop.plugins import register
from edgeloop.types import AnswerSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Snapshot

logger = logging.getLogger(__name__)

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
FORMATS = ("PNG", "JPEG", "BMP")
MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA")  # of Pillow
PNG_DEPTH = 24  # the byte of a PNG file that says how many bits a channel has
LARGEST = 50_000_000  # pixels; more in one file is refused before it is unpacked

Side = Annotated[int, Field(ge=1, le=8192)]


@register("source", "folder.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Folder:
    """Images in ``root/<class>/*.png|jpg|jpeg|bmp``; ``root`` is relative to the loop file.

    Classes are the folders' names in order. ``mode`` is ``L`` (grey, uint8[h, w]) or ``RGB``
    (uint8[h, w, 3]), to which grey, coloured and palette images are converted. What would lose
    something by that is refused: 16 bits a channel, transparent pixels, several frames, CMYK.
    ``size`` (height, width) resizes each; None demands that all have one size.
    """

    root: Path
    mode: Literal["L", "RGB"] = "L"
    size: tuple[Side, Side] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "pillow")

    def load(self, context: Context) -> Snapshot:
        """Columns ``image`` and ``label`` (int64, index into the classes), by class, then by name.

        Raises:
            DataError: fewer than two classes, a class without images, a file that is no image or
                one of a form that is refused, or images of different sizes without ``size``; the
                message names the file.
            MissingExtraError: Pillow is not installed.
        """
        import numpy as np

        root = context.folder / self.root
        found = _listed(root)
        images = [self._image(path, root) for paths in found.values() for path in paths]
        labels = np.repeat(np.arange(len(found)), [len(paths) for paths in found.values()])
        snapshot = write(
            name=root.name,
            inputs={"image": np.stack(_of_one_size(images, found, root))},
            target=("label", labels.astype(np.int64)),
            answer=AnswerSpec(kind="label", params={"classes": list(found)}),
            scratch=context.scratch,
            provenance={
                "source": "folder",
                "files": len(images),
                "sha256": self.inputs_digest(context.folder),
                "licence": "not stated",
            },
        )
        logger.info("data.done name=%s rows=%d classes=%d", root.name, len(images), len(found))
        return snapshot

    def inputs_digest(self, folder: Path) -> str:
        """sha256 hex over the names and bytes of every image, so that a changed file counts.

        Raises:
            DataError: as ``load`` does for the folder's form.
        """
        root = folder / self.root
        digest = hashlib.sha256()
        for paths in _listed(root).values():
            for path in paths:
                digest.update(path.relative_to(root).as_posix().encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _image(self, path: Path, root: Path) -> Array:
        return read_image(path, root, self.mode, self.size)


def read_image(path: Path, root: Path, mode: str, size: tuple[int, int] | None = None) -> Array:
    """``uint8[h, w]`` (mode ``L``) or ``uint8[h, w, 3]`` (``RGB``) of a file under ``root``.

    Raises:
        DataError: it is no image, or one of a form that is refused.
        MissingExtraError: Pillow is not installed.
    """
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            "pillow", "must be installed to read images", todo="pip install 'edgeloop[train]'"
        ) from error
    try:
        with Image.open(path, formats=FORMATS) as opened:
            _check_pixels(opened.size, path, root)
            _check_form(opened, path, root)
            image = opened.convert(mode)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's readers raise
        raise DataError(
            f"image {path.relative_to(root)}",
            "must be a whole PNG, JPEG or BMP file",
            got=f"{path.stat().st_size} bytes that cannot be decoded",
            todo="Replace the file, or take it out of the folder",
        ) from error
    if size is not None:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image)


def _listed(root: Path) -> dict[str, list[Path]]:
    """The images of each class, both in order; what is hidden is passed over."""
    if not root.is_dir():
        raise DataError(f"folder {root.name}", "must exist", todo="It is relative to the loop file")
    classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(classes) < 2:
        raise DataError(
            f"folder {root.name}",
            "must have a folder for each of two classes or more",
            got=", ".join(p.name for p in classes) or "none",
        )
    found = {p.name: sorted(f for f in p.iterdir() if f.name[0] != ".") for p in classes}
    for path in (path for paths in found.values() for path in paths):
        if not is_image(path) or not path.is_file():
            raise DataError(
                f"file {path.relative_to(root.parent)}",
                f"must be an image ({', '.join(ENDINGS)})",
                todo="Take it out of the class folder, or hide it by a dot before its name",
            )
    for name, paths in found.items():
        if not paths:
            raise DataError(
                f"class folder {root.name}/{name}",
                f"must hold images ({', '.join(ENDINGS)})",
                got="none",
                todo="Add some, or remove the folder",
            )
    return found


def is_image(path: Path) -> bool:
    """Whether a file's name is one of an image, and not hidden."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def _check_pixels(size: tuple[int, int], path: Path, root: Path) -> None:
    if size[0] * size[1] > LARGEST:
        raise DataError(
            f"image {path.relative_to(root)}",
            f"must have {LARGEST} pixels or fewer",
            got=f"{size[0]} x {size[1]}",
        )


def _check_form(image: Image, path: Path, root: Path) -> None:
    """Raise when eight bits of grey or of three colours cannot say all that the file says."""
    got = ""
    if image.mode not in MODES or _depth(image, path) > 8:
        got = f"mode {image.mode} of {_depth(image, path)} bits"
    elif image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
        got = f"{image.n_frames} frames"
    elif image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
        got = "transparent pixels"
    if got:
        raise DataError(
            f"image {path.relative_to(root)}",
            "must be one opaque picture, grey or coloured, of 8 bits a channel",
            got=got,
            todo="Convert the file by a rule of your own; nothing is scaled or dropped here",
        )


def _depth(image: Image, path: Path) -> int:
    """Bits of a channel; Pillow gives 16-bit colours as 8-bit ones and says nothing."""
    if image.format != "PNG":
        return 8
    with path.open("rb") as stream:
        return stream.read(PNG_DEPTH + 1)[PNG_DEPTH]


def _of_one_size(images: list[Array], found: dict[str, list[Path]], root: Path) -> list[Array]:
    paths = [path for each in found.values() for path in each]
    for image, path in zip(images, paths, strict=True):
        if image.shape != images[0].shape:
            raise DataError(
                f"image {path.relative_to(root)}",
                f"must be {images[0].shape[1]} x {images[0].shape[0]} pixels as the first image is",
                got=f"{image.shape[1]} x {image.shape[0]}",
                todo="Set size: [height, width] to resize every image",
            )
    return images
