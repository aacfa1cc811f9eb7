"""Sizes and times as people write them in a loop file: ``300 kB``, ``20 s``, ``5 ms``."""

import re
from collections.abc import Iterable
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

BYTES = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")


def _measure(text: object, units: dict[str, float], example: str) -> object:
    """A number stays as it is; text is a number and a unit."""
    if not isinstance(text, str):
        return text
    found = WRITTEN.fullmatch(text)
    if found is None or found[2] not in units:
        raise ValueError(f"must be a number and one of {', '.join(units)}, like {example!r}")
    return float(found[1]) * units[found[2]]


def parse_size(text: object) -> object:
    """``"300 kB"`` -> 300000, in bytes."""
    size = _measure(text, {unit: float(factor) for unit, factor in BYTES.items()}, "300 kB")
    return round(size) if isinstance(size, float) else size


def parse_at_most(text: object) -> object:
    """``"<= 60 kB"`` -> 60000, in bytes, as ``"60 kB"`` is."""
    return parse_size(text.removeprefix("<=") if isinstance(text, str) else text)


def parse_seconds(text: object) -> object:
    """``"20 s"`` -> 20.0."""
    return _measure(text, SECONDS, "20 s")


def parse_milliseconds(text: object) -> object:
    """``"5 ms"`` -> 5.0."""
    seconds = _measure(text, SECONDS, "5 ms")
    return seconds * 1000 if isinstance(text, str) and isinstance(seconds, float) else seconds


def _schema(units: Iterable[str], before: str = "") -> WithJsonSchema:
    """What an editor accepts: a plain number, or a number and a unit."""
    written = rf"^{before}\s*[0-9]+(\.[0-9]+)?\s*({'|'.join(units)})\s*$"
    return WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": written}]})


Size: TypeAlias = Annotated[int, BeforeValidator(parse_size), _schema(BYTES)]  # bytes
AtMost: TypeAlias = Annotated[int, BeforeValidator(parse_at_most), _schema(BYTES, "(<=)?")]  # bytes
Seconds: TypeAlias = Annotated[float, BeforeValidator(parse_seconds), _schema(SECONDS)]
Milliseconds: TypeAlias = Annotated[float, BeforeValidator(parse_milliseconds), _schema(SECONDS)]
