"""Rows of columns as files: ``.npy`` for numbers, a JSON list for texts. Nothing is pickled."""

from __future__ import annotations

import base64
import io
import json
import math
import tokenize
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    Array = np.ndarray[Any, Any]

ENCRYPTED = 1  # a flag of one file of a zip


def save(values: Array, folder: Path, name: str) -> Path:
    """Write ``values`` (first axis: rows) to ``folder/name`` with the ending that fits."""
    path = folder / f"{name}{_ending(values)}"
    path.write_bytes(content_of(values))
    return path


def load(path: Path) -> Array:
    """What :func:`save` wrote. The ending is not looked at: a store's blob has none.

    Raises:
        ValueError: it is neither.
    """
    return array_of(path.read_bytes())


def pack(columns: Mapping[str, Array], path: Path) -> Path:
    """Write several columns, whatever their names, as one file: a zip without compression.

    The same columns give the same bytes.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, values in sorted(columns.items()):
            archive.writestr(zipfile.ZipInfo(f"{name}{_ending(values)}"), content_of(values))
    return path


def unpack(path: Path) -> dict[str, Array]:
    """What :func:`pack` wrote, by name.

    Raises:
        ValueError: it is none; or it is compressed, and could become larger than it is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [one.filename for one in archive.infolist() if one.compress_type]
            if packed:
                raise ValueError(f"must not be compressed, and {packed[0]} is")
            if any(one.flag_bits & ENCRYPTED for one in archive.infolist()):
                raise ValueError("must not be encrypted")
            entries = {one.filename: archive.read(one) for one in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as fault:
        raise ValueError(f"must be a whole zip archive: {fault}") from fault
    return {name.rpartition(".")[0]: array_of(content) for name, content in entries.items()}


def as_texts(values: Any) -> Array:
    """A (nested) list of texts as an object array of Python ``str``.

    Raises:
        ValueError: something in it is not a text.
    """
    import numpy as np

    texts: Array = np.array(values, dtype=object)
    strange = [value for value in texts.reshape(-1) if not isinstance(value, str)]
    if strange:
        raise ValueError(f"must be a text, got {strange[0]!r}")
    return texts


def dtype_of(values: Array) -> str:
    """As a TensorSpec says it: numpy's name, ``str`` for an object array of Python texts."""
    if values.dtype != object:
        return str(values.dtype)
    return "str" if all(isinstance(value, str) for value in values.reshape(-1)) else "object"


def content_of(values: Array) -> bytes:
    """The file that holds ``values``."""
    import numpy as np

    if values.dtype == object:
        return json.dumps(values.tolist(), ensure_ascii=False).encode()
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values), allow_pickle=False)
    return stream.getvalue()


def array_of(content: bytes) -> Array:
    """The inverse of :func:`content_of`.

    Raises:
        ValueError: it is neither ``.npy`` without objects, nor a JSON list of texts.
    """
    if content[:1] == b"[":  # .npy begins with 0x93
        try:
            return as_texts(json.loads(content))
        except RecursionError as fault:
            raise ValueError("must not be nested so deep") from fault
    return _numbers(content)


def _numbers(content: bytes) -> Array:
    """A ``.npy`` file, which is asked how large it is before memory is taken for it."""
    import numpy as np

    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("must be .npy of version 1.0")
    try:
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except (SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as fault:
        raise ValueError("must have the header of a .npy file") from fault  # it is read as Python
    if math.prod(shape) * dtype.itemsize > len(content):
        raise ValueError(f"must hold the {shape} numbers that it says")
    loaded: Array = np.load(io.BytesIO(content), allow_pickle=False)
    return loaded


def encoded(columns: Mapping[str, Array]) -> dict[str, str]:
    """Name -> base64 of the file that holds its values: columns as JSON."""
    return {name: base64.b64encode(content_of(v)).decode() for name, v in columns.items()}


def decoded(columns: Mapping[str, str]) -> dict[str, Array]:
    """The inverse of :func:`encoded`.

    Raises:
        ValueError, EOFError: a column is no base64, or :func:`array_of` cannot read it.
    """
    return {name: array_of(base64.b64decode(text, validate=True)) for name, text in columns.items()}


def _ending(values: Array) -> str:
    return ".json" if values.dtype == object else ".npy"
