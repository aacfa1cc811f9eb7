"""Any files go there and back: random models of each container, what is no model, and nothing."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.delta.tiny_models import BLOCKS, KINDS, dtype, gguf, onnx, safetensors

from edgeloop.delta.apply import apply_bytes
from edgeloop.delta.create import create_bytes

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38)
WRITERS = (safetensors, gguf, onnx)


@dataclass
class Chance:
    """Tensors by a seed."""

    seed: int

    def __post_init__(self):
        self.generator = np.random.default_rng(self.seed)

    def model(self, shapes):
        """Every kind, and scales and zero points of the levels."""
        tensors = {}
        for number, shape in enumerate(shapes):
            kind = KINDS[self.generator.integers(len(KINDS))]
            tensors[f"w{number}.weight"] = (kind, shape, self.numbers(kind, shape))
            if kind in {"int8", "uint8"} and len(shape) and shape[0]:
                name = f"w{number}.weight"
                scales = self.generator.normal(1, 1, shape[0]).astype(np.float32).tobytes()
                tensors[f"{name}_scale"] = ("float32", shape[:1], scales)
                tensors[f"{name}_zero"] = (kind, shape[:1], self.numbers(kind, shape[:1]))
        for form, (_, numbers, size) in BLOCKS.items():
            rows, blocks = self.generator.integers(1, 4, 2)
            data = self.generator.bytes(int(rows * blocks) * size)
            tensors[form] = (form, (int(rows), int(blocks) * numbers), data)
        return tensors

    def numbers(self, kind, shape):
        """Bits by chance, payloads of what is no number too; or numbers with special ones."""
        count, wanted = int(np.prod(shape)), dtype(kind)
        if self.generator.random() < 0.3 or wanted.kind in "iu":
            return self.generator.bytes(count * wanted.itemsize)
        some = self.generator.normal(0, 1, count).astype(np.float32)
        some[self.generator.random(count) < 0.02] = self.generator.choice(SPECIAL)
        with np.errstate(all="ignore"):
            return some.astype(wanted).tobytes()

    def updated(self, tensors):
        """Some gone, some renamed, others moved by few or many of their bytes; in another order."""
        new = {}
        for name, (kind, shape, data) in tensors.items():
            fate = self.generator.random()
            raw = np.frombuffer(data, np.uint8).copy()
            moved = self.generator.random(len(raw)) < self.generator.choice([0, 0.05, 1])
            raw[moved] += self.generator.integers(0, 3, int(moved.sum()), dtype=np.uint8)
            if fate > 0.1:
                new[f"{name}.again" if fate < 0.2 else name] = (kind, shape, raw.tobytes())
        names = list(new)
        if self.generator.random() < 0.3:
            self.generator.shuffle(names)
        return {name: new[name] for name in names}


def there_and_back(old, new):
    before = [bytearray(data) for data in (*old, *new)]
    made = create_bytes(old, new)
    assert apply_bytes(old, made.data) == list(new)
    assert [bytearray(data) for data in (*old, *new)] == before
    return made


def writable(writer, tensors):
    return {name: told for name, told in tensors.items() if writer is gguf or told[0] not in BLOCKS}


@QUICK
@given(
    st.integers(0, 2**32), st.sampled_from(WRITERS),
    st.lists(st.lists(st.integers(0, 20), max_size=3).map(tuple), max_size=4),
)  # fmt: skip
def test_any_model_comes_back(seed, writer, shapes):
    chance = Chance(seed)
    old = writable(writer, chance.model(shapes))
    there_and_back([writer(old)], [writer(chance.updated(old))])


@QUICK
@given(
    st.lists(st.binary(max_size=300), max_size=3),
    st.lists(st.binary(max_size=300), min_size=1, max_size=3),
)
def test_any_bytes_come_back_of_any_number_of_files(old, new):
    there_and_back(old, new)


def test_files_that_are_models_come_back_together_in_another_order():
    chance = Chance(3)
    old = [writer(writable(writer, chance.model([(4, 9), (30,)]))) for writer in WRITERS]
    there_and_back([*old, b""], [b"", old[2], b"between", old[0] + b"longer", old[1]])


@pytest.mark.parametrize("old", [[], [b""], [b"a" * 99]])
@pytest.mark.parametrize("new", [[b""], [b"", b""], [b"a" * 99]])
def test_files_that_are_missing_or_empty_come_back(old, new):
    there_and_back(old, new)


def zero_points(chance, moved):
    """Levels, and behind them in the file zero points that are worth telling as a tensor."""
    rows = 2000

    def near(numbers):
        return (numbers + moved * chance.generator.integers(-1, 2, numbers.shape)).astype(np.uint8)

    levels = near(np.random.default_rng(0).integers(1, 255, (rows, 16)))
    zeros = near(np.random.default_rng(1).integers(100, 150, rows))
    scales = (np.random.default_rng(2).random(rows) * (1 + moved / 100)).astype(np.float32)
    return onnx({
        "w": ("uint8", levels.shape, levels.tobytes()),
        "w_scale": ("float32", (rows,), scales.tobytes()),
        "w_zero": ("uint8", (rows,), zeros.tobytes()),
    })  # fmt: skip


def test_zero_points_that_moved_are_known_before_the_levels_that_they_shift():
    old, new = zero_points(Chance(1), 0), zero_points(Chance(1), 1)
    there_and_back([old], [new])
