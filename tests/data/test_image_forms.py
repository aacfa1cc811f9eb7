"""Images of unusual forms are converted by a stated rule or refused by name, never bent."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeloop.data.folder import Folder
from edgeloop.errors import DataError
from edgeloop.plugins import Context

RED = (200, 0, 0)


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("RGB", (6, 4), RED).save(tmp_path / "pets" / name / "0.png")
    (tmp_path / "scratch").mkdir()
    return tmp_path / "pets" / "cat"


def load(folder: Path, mode: str = "RGB"):
    root = folder.parent.parent
    context = Context(scratch=root / "scratch", folder=root)
    return Folder(root=Path("pets"), mode=mode).load(context).column("image")


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(folder)
    return str(caught.value)


def told(name: str, got: str) -> str:
    return (
        f"[E110] image cat/{name} must be one opaque picture, grey or coloured, of 8 bits a"
        f" channel, got {got}."
        " Convert the file by a rule of your own; nothing is scaled or dropped here"
    )


def test_a_grey_image_of_16_bits_is_refused(folder):
    Image.fromarray(np.full((4, 6), 40_000, dtype=np.uint16)).save(folder / "1.png")
    assert refusal(folder) == told("1.png", "mode I;16 of 16 bits")


def test_a_coloured_image_of_16_bits_is_refused_although_pillow_reads_8(folder):
    (folder / "1.png").write_bytes(coloured_of_16_bits())
    assert refusal(folder) == told("1.png", "mode RGB of 16 bits")


def coloured_of_16_bits() -> bytes:
    """A PNG of 6 x 4 pixels, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0))
    rows = zlib.compress((b"\0" + b"\x9c\x40" * 18) * 4)
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_cmyk_image_is_refused(folder):
    Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(folder / "1.jpg")
    assert refusal(folder) == told("1.jpg", "mode CMYK of 8 bits")


def test_an_animated_image_is_refused(folder):
    frames = [Image.new("RGB", (6, 4), (grey, 0, 0)) for grey in (10, 20, 30)]
    frames[0].save(folder / "1.png", save_all=True, append_images=frames[1:])
    assert refusal(folder) == told("1.png", "3 frames")


def test_a_gif_under_another_ending_is_no_png(folder):
    Image.new("P", (6, 4)).save(folder / "1.png", format="GIF")
    size = (folder / "1.png").stat().st_size
    assert refusal(folder) == (
        "[E110] image cat/1.png must be a whole PNG, JPEG or BMP file,"
        f" got {size} bytes that cannot be decoded. Replace the file, or take it out of the folder"
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_refused(folder, mode):
    image = Image.new("RGBA", (6, 4), (*RED, 255))
    image.putpixel((0, 0), (*RED, 0))
    made = image.quantize() if mode == "P" else image.convert(mode)
    made.save(folder / "1.png")
    assert refusal(folder) == told("1.png", "transparent pixels")


@pytest.mark.parametrize("mode", ["RGBA", "P", "RGB"])
def test_opaque_colours_come_as_they_are_whatever_the_file_calls_them(folder, mode):
    image = Image.new("RGBA", (6, 4), (*RED, 255))
    (image.convert("RGB").quantize() if mode == "P" else image.convert(mode)).save(folder / "1.png")
    assert load(folder)[1].tolist() == [[list(RED)] * 6] * 4


def test_black_and_white_becomes_0_and_255(folder):
    image = Image.new("1", (6, 4))
    image.putpixel((1, 0), 1)
    image.save(folder / "1.png")
    assert load(folder, "L")[1][0].tolist() == [0, 255, 0, 0, 0, 0]
