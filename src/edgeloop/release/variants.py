"""Join several graphs, each built and measured as a bundle of its own, into one bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeloop.errors import ModelError
from edgeloop.release.bundle import (
    MOST_LAYERS,
    BundleDraft,
    BundleInfo,
    GraphInfo,
    UsedWhen,
    Variant,
    prefix,
)

if TYPE_CHECKING:
    from edgeloop.types import Artifact

KIND = "variant"  # of the artifact that is one graph, before it is joined


def joined(main: BundleDraft, parts: Mapping[str, tuple[UsedWhen, Artifact]]) -> BundleDraft:
    """``main`` with each of ``parts`` (by name, in the order of preference) as a variant.

    Raises:
        ModelError: a variant takes other inputs than the main graph, or gives another answer; or
            there are more files than a device takes.
    """
    variants, files = [], dict(main.files)
    for name, (when, part) in parts.items():
        info = BundleInfo.model_validate(part.meta)
        _check_same(name, info, main.info)
        graph = {field: getattr(info, field) for field in GraphInfo.model_fields}
        variants.append(Variant(**graph, name=name, when=when))
        files |= _prefixed(name, part.files)
    if len(files) >= MOST_LAYERS:  # the description is one more
        raise ModelError(
            f"bundle of {len(parts) + 1} variants",
            f"must have at most {MOST_LAYERS} files",
            got=len(files) + 1,
            todo="Declare fewer variants, or fewer profiles of inputs",
        )
    info = main.info.model_copy(update={"variants": tuple(variants)})
    return replace(main, info=info, files=files)


def _check_same(name: str, info: BundleInfo, main: BundleInfo) -> None:
    """An application asks one model, whichever of its graphs answers."""
    for part in ("inputs", "answer"):
        if info.model[part] != main.model[part]:
            raise ModelError(
                f"variant {name!r}",
                f"must have the {part} of the main pipeline, {main.model[part]}",
                got=info.model[part],
                todo="Another model is another loop",
            )


def _prefixed(name: str, files: Mapping[str, Path]) -> dict[str, Path]:
    return {prefix(name) + file: path for file, path in files.items()}
