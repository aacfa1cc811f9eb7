"""Rows for a batch, one after the other: images of a folder, lines of JSON, or arrays of NumPy."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from edgeloop.errors import BatchError, DataError, InputMismatchError

if TYPE_CHECKING:
    from edgeloop.types import Array, TensorSpec

Inputs: TypeAlias = Mapping[str, Any]
Row: TypeAlias = tuple[str, "Inputs | InputMismatchError | DataError"]  # name; inputs, or why not
LONGEST_LINE = 32 << 20  # bytes
MODES = {2: "L", 3: "RGB"}  # axes of a picture -> Pillow's mode


def read(path: Path, specs: tuple[TensorSpec, ...]) -> Iterator[Row]:
    """The rows of ``path`` in order; never more than one in memory.

    A folder gives its images by their paths in it, in order of these; a ``.jsonl`` file one row per
    line, by its number; an ``.npz`` file one per place on the first axis, by that.

    Raises:
        BatchError: it is none of these, or a file that is broken.
        MissingExtraError: there are images, and Pillow is not installed.
    """
    if path.is_dir():
        return _images(path, specs)
    readers = {".jsonl": _lines, ".npz": _arrays}
    if path.suffix not in readers or not path.is_file():
        got = "no such file" if not path.exists() else path.suffix or "no ending"
        raise _fault(path, "must be a folder of images, a .jsonl or an .npz file", got)
    return readers[path.suffix](path)


def _images(folder: Path, specs: tuple[TensorSpec, ...]) -> Iterator[Row]:
    from edgeloop.data.folder import is_image, read_image

    spec = specs[0]
    pictures = len(specs) == 1 and spec.dtype == "uint8" and len(spec.shape) in MODES
    if not pictures or (len(spec.shape) == 3 and spec.shape[2] != 3):
        told = ", ".join(f"{one.name} {one.dtype}{list(one.shape)}" for one in specs)
        rule = "must be a .jsonl or an .npz file, as the model takes no picture"
        raise _fault(folder, rule, told)
    found = sorted(path for path in folder.rglob("*") if is_image(path) and path.is_file())
    if not found:
        raise _fault(folder, "must hold images", "none")
    for path in found:
        name = path.relative_to(folder).as_posix()
        try:
            yield name, {spec.name: read_image(path, folder, MODES[len(spec.shape)])}
        except DataError as fault:
            yield name, fault


def _lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise _fault(path, f"must have lines of {LONGEST_LINE} bytes or fewer", number)
            if line.strip():
                yield str(number), _inputs(line, number)


def _inputs(line: bytes, number: int) -> Inputs | InputMismatchError:
    import numpy as np

    try:
        told = json.loads(line)
        return {name: np.asarray(value) for name, value in told.items()}
    except (ValueError, AttributeError, RecursionError) as fault:
        rule = "must be a JSON object of inputs, each a value or a list of equal lists"
        return InputMismatchError(f"line {number}", rule, got=str(fault).splitlines()[0])


def _arrays(path: Path) -> Iterator[Row]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield from _side_by_side(archive)
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError) as fault:
        rule = "must hold whole arrays without objects, with one number of rows"
        raise _fault(path, rule, str(fault).splitlines()[0]) from fault


def _side_by_side(archive: zipfile.ZipFile) -> Iterator[Row]:
    names = [one.removesuffix(".npy") for one in archive.namelist()]
    with ExitStack() as streams:
        opened = {name: streams.enter_context(archive.open(f"{name}.npy")) for name in names}
        columns = {name: _column(stream, name) for name, stream in opened.items()}
        sizes = {name: int(next(rows)) for name, rows in columns.items()}
        if len(set(sizes.values())) != 1:
            told = ", ".join(f"{size} in {name}" for name, size in sizes.items())
            raise ValueError(told or "none")
        for place in range(min(sizes.values())):
            yield str(place), {name: next(rows) for name, rows in columns.items()}


def _column(stream: IO[bytes], name: str) -> Iterator[Any]:
    """The number of rows, then each row."""
    import numpy as np
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_column, dtype = read_header(stream)
    if dtype.hasobject or not shape or (by_column and len(shape) > 1):
        raise ValueError(f"{name} of {dtype}{list(shape)}{' in columns' if by_column else ''}")
    yield shape[0]
    size = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    for _ in range(shape[0]):
        data = stream.read(size)
        if len(data) != size:
            raise EOFError(f"{name} is cut short")
        row: Array = np.frombuffer(data, dtype).reshape(shape[1:])
        yield row


def _fault(path: Path, rule: str, got: object) -> BatchError:
    return BatchError(f"rows {path.name}", rule, got=got)
