"""Several graphs joined into one bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.errors import BundleError, ModelError
from edgeloop.release.bundle import (
    Bundle,
    BundleDraft,
    BundleInfo,
    DeviceLimits,
    Golden,
    UsedWhen,
    open_bundle,
)
from edgeloop.release.variants import joined
from edgeloop.store.manifest import canonical
from edgeloop.types import Artifact, MadeBy

ANSWER = {"kind": "label", "params": {}}
D = "sha256:" + "d" * 64


def info(inputs: str = "x", **others: object) -> BundleInfo:
    return BundleInfo.model_validate(
        {
            "name": "m",
            "runtime": "onnx",
            "golden": Golden(rows=1, tolerance={"any": 0.01}),
            "model": {"inputs": [inputs], "answer": ANSWER},
            **others,
        }
    )


def part(told: BundleInfo, *names: str) -> Artifact:
    return Artifact(
        digest=D,
        kind="variant",
        meta=told.model_dump(mode="json"),
        layers=(),
        parents=(),
        made_by=MadeBy(plugin="bundle/variant.v1", key="", source=""),
        files={name: Path(name) for name in names},
    )


def draft(*names: str) -> BundleDraft:
    return BundleDraft(info=info(), files={name: Path(name) for name in names})


def opened(told: BundleDraft, folder: Path) -> Bundle:
    path = folder / "description.json"
    path.write_bytes(canonical({"meta": told.to_meta()}))
    return open_bundle(D, {**told.files, path.name: path})


def test_a_bundle_gives_each_graph_with_its_own_files_and_limits(tmp_path: Path) -> None:
    small = part(info(limits=DeviceLimits(latency_ms=3)), "model.onnx", "golden.zip")
    whole = joined(draft("model.onnx", "golden.zip"), {"small": (UsedWhen(), small)})
    bundle = opened(whole, tmp_path)
    assert bundle.of("small").info.limits.latency_ms == 3
    assert set(bundle.of("small").files) == {"model.onnx", "golden.zip"}
    assert bundle.of("main").info.limits.latency_ms is None
    with pytest.raises(BundleError) as raised:
        bundle.of("large")
    assert str(raised.value) == (
        f"[E404] variant 'large' of bundle {D} must be small, main, got no such"
    )


def test_a_bundle_that_lacks_a_file_of_a_variant_is_refused(tmp_path: Path) -> None:
    small = part(info(), "model.onnx")
    whole = joined(draft("model.onnx", "golden.zip"), {"small": (UsedWhen(), small)})
    with pytest.raises(BundleError) as raised:
        opened(whole, tmp_path)
    assert "must have every file that it declares, got no small.golden.zip" in str(raised.value)


def test_two_variants_of_one_name_are_no_bundle(tmp_path: Path) -> None:
    told = info().model_dump(mode="json")
    one = {key: told[key] for key in ("runtime", "golden", "model")} | {"name": "main"}
    path = tmp_path / "description.json"
    path.write_bytes(canonical({"meta": {**told, "variants": [one]}}))
    with pytest.raises(BundleError) as raised:
        open_bundle(D, {path.name: path})
    assert "variants must have plain names of their own, got ['main', 'main']" in str(raised.value)


def test_a_variant_of_other_inputs_is_another_model() -> None:
    with pytest.raises(ModelError) as raised:
        joined(draft("model.onnx"), {"small": (UsedWhen(), part(info("y"), "model.onnx"))})
    assert str(raised.value) == (
        "[E120] variant 'small' must have the inputs of the main pipeline, ['x'], got ['y']."
        " Another model is another loop"
    )


def test_more_files_than_a_device_takes_are_told_before_the_release() -> None:
    many = part(info(), *(f"profile-{n}.json" for n in range(63)))
    with pytest.raises(ModelError) as raised:
        joined(draft("model.onnx"), {"small": (UsedWhen(), many)})
    assert str(raised.value) == (
        "[E120] bundle of 2 variants must have at most 64 files, got 65."
        " Declare fewer variants, or fewer profiles of inputs"
    )
