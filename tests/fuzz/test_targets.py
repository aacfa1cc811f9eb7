"""Each parser takes good bytes, and all that a fuzzer once found, without a surprise."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fuzz.fuzz import FOUND, names
from tests.fuzz.targets import targets


@pytest.mark.parametrize("name", names())
def test_good_bytes_and_what_a_fuzzer_found_once(name: str, tmp_path: Path) -> None:
    target = targets(tmp_path)[name]
    for seed in target.seeds:
        target.try_out(seed)
        target.try_out(seed[: len(seed) // 2])
    for path in sorted((FOUND / name).glob("*")):
        target.try_out(path.read_bytes())


@pytest.mark.parametrize("name", sorted({"manifest", "golden", "onnx", "tflite", "gguf", "rows"}))
def test_good_bytes_are_read(name: str, tmp_path: Path) -> None:
    target = targets(tmp_path)[name]
    for seed in target.seeds:
        target.read(seed)
