"""Random pairs of files, each there and back: ``python -m delta.round_trips --pairs 10000``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from delta import ours
from delta.sources import Array

PAIRS, SHOWN = 10_000, 500  # how many by default, and after how many a line is shown
DTYPES = ("float32", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "float64")
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 3e38)
HUGE, HUGE_ONE_IN = 300_000, 1000  # numbers of a tensor that is large, and how often one is
Tensors = dict[str, Array]


def main() -> int:
    """All pairs; the first that does not come back is told, with its seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--first", type=int, default=0, help="seed of the first pair")
    given = parser.parse_args()
    done = run(given.pairs, given.first)
    print(f"{done:,} pairs came back bit for bit")
    return 0


def run(count: int, first: int = 0) -> int:
    """How many pairs came back.

    Raises:
        RuntimeError: one did not, with its seed.
    """
    for seed in range(first, first + count):
        old, new = drawn(seed)
        try:
            ours.delta(old, new)  # compares, and sees that neither was changed
        except Exception as error:
            raise RuntimeError(f"pair {seed} did not come back: {error}") from error
        if (seed + 1 - first) % SHOWN == 0:
            print(f"{seed + 1 - first:,} of {count:,} pairs", file=sys.stderr, flush=True)
    return count


def drawn(seed: int) -> tuple[bytes, bytes]:
    """Old and new file of a seed."""
    generator = np.random.default_rng(seed)
    if generator.random() < 0.15:
        return _bytes(generator)
    old = dict(_tensors(generator))
    new = _updated(generator, old)
    write = _safetensors if generator.random() < 0.6 else _onnx
    return write(old), write(new)


def _bytes(generator: np.random.Generator) -> tuple[bytes, bytes]:
    """No model files: anything, nothing, a file that was cut, one byte that was changed."""
    old = generator.bytes(int(generator.integers(0, 5000)))
    changed = bytearray(old)
    if changed:
        changed[int(generator.integers(len(changed)))] ^= 1
    others = [old, b"", bytes(changed), old[: len(old) // 2], old + old, generator.bytes(900)]
    pair = [old, others[int(generator.integers(len(others)))]]
    generator.shuffle(pair)
    return pair[0], pair[1]


def _tensors(generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
    for number in range(int(generator.integers(0, 5))):
        sides = int(generator.integers(0, 4))
        shape = tuple(int(one) for one in generator.integers(0, 24, sides))
        if generator.random() < 1 / HUGE_ONE_IN:
            shape = (HUGE // 500, 500)
        yield f"part.{number}.weight", _numbers(generator, shape, str(generator.choice(DTYPES)))


def _numbers(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    spread = 10.0 ** generator.integers(-6, 3)
    numbers = generator.normal(0, spread, shape)
    if kind.kind in "iu":
        return np.clip(numbers * 40 / spread, -128 if kind.kind == "i" else 0, 127).astype(kind)
    if numbers.size and generator.random() < 0.3:
        flat, places = numbers.reshape(-1), generator.integers(numbers.size, size=3)
        flat[places] = generator.choice(SPECIAL, 3)
    with np.errstate(over="ignore"):
        return np.asarray(numbers, dtype=np.float32).astype(kind)


def _updated(generator: np.random.Generator, old: Tensors) -> Tensors:
    """Some tensors the same, some moved a little, some new; names and order may change."""
    new: Tensors = {}
    for name, value in old.items():
        kind = generator.random()
        if kind < 0.1:
            continue
        if kind < 0.3:
            told = value
        elif kind < 0.8:
            told = _moved(generator, value)
        else:
            told = _numbers(generator, tuple(reversed(value.shape)), str(generator.choice(DTYPES)))
        new[f"renamed.{name}" if generator.random() < 0.15 else name] = told
    items = list(new.items())
    if generator.random() < 0.2:
        generator.shuffle(items)
    return dict(items)


def _moved(generator: np.random.Generator, value: Array) -> Array:
    """Some numbers moved, by little."""
    moves = generator.random(value.shape) < generator.choice((0.01, 0.3, 1.0))
    if value.dtype.kind in "iu":
        step = generator.integers(-3, 4, value.shape)
        near = value.astype(np.int64) + step * moves
        return np.clip(near, *_range(value.dtype)).astype(value.dtype)
    with np.errstate(all="ignore"):
        wide = value.astype(np.float64)
        near = wide * (1 + moves * generator.normal(0, 10.0 ** generator.integers(-5, 0)))
        return near.astype(np.float32).astype(value.dtype)


def _range(kind: Any) -> tuple[int, int]:
    told = np.iinfo(kind)
    return max(int(told.min), -(2**40)), min(int(told.max), 2**40)


def _safetensors(tensors: Tensors) -> bytes:
    return bytes(save({name: np.ascontiguousarray(one) for name, one in tensors.items()}))


def _onnx(tensors: Tensors) -> bytes:
    """A graph that names its tensors and computes nothing."""
    held = [_initializer(name, one) for name, one in tensors.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "drawn", [value], [out], initializer=held)
    return bytes(helper.make_model(graph).SerializeToString(deterministic=True))


def _initializer(name: str, value: Array) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)


if __name__ == "__main__":
    sys.exit(main())
