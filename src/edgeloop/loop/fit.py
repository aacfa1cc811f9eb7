"""Hold an ONNX file against a sample of data, so that the loop file around them runs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from edgeloop import durable
from edgeloop.data.arrays import TARGET
from edgeloop.errors import DataError
from edgeloop.loop.file import LoopFile, parse
from edgeloop.plugins import Context
from edgeloop.recipes.onnx_file import NoDistributionError, OnnxFile, answer_of
from edgeloop.recipes.onnx_inputs import taken
from edgeloop.types import Json

LOOKED_WITH = ("numpy", "onnx", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a loop file must say beside the names of both files."""

    target: str = TARGET
    answer: Mapping[str, Json] | None = None  # None: what the sample shows
    logits: bool = False

    def filled(self, template: str, model: Path, data: Path) -> str:
        """The template with both files."""
        source: dict[str, Any] = {"file": str(data)}
        recipe: dict[str, Any] = {"file": str(model)}
        if self.logits:
            recipe["logits"] = True
        if self.target != TARGET:
            source["target"] = self.target
        if self.answer is not None:
            source["answer"] = dict(self.answer)
        text = template.replace("file: __DATA__", ", ".join(_lines(source)))
        return text.replace("file: __MODEL__", "\n  ".join(_lines(recipe)))


def _lines(fields: Mapping[str, Any]) -> list[str]:
    return [f"{key}: {json.dumps(value)}" for key, value in fields.items()]


def missing() -> list[str]:
    """The libraries that looking at the files takes and that are not installed."""
    return [name for name in LOOKED_WITH if find_spec(name) is None]


def fit(template: str, model: Path, data: Path) -> Fit:
    """What the loop file must say for its data, split and recipe to run on these files.

    Raises:
        ModelError: the model cannot be read, or does not answer as a classifier.
        DataError: the sample cannot be read, or does not fit the model.
    """
    graph = OnnxFile(file=model.absolute()).graph(Path())
    inputs = sorted(taken(graph))
    found = Fit(target=_target(data, inputs), answer=answer_of(graph))
    try:
        _try(found, template, model, data)
    except NoDistributionError:
        found = replace(found, logits=True)
        _try(found, template, model, data)
    return found


def _target(data: Path, inputs: list[str]) -> str:
    """The array that is no input of the model: the truth."""
    names = _names(data)
    rest = sorted(set(names) - set(inputs))
    if set(inputs) <= set(names) and len(rest) == 1:
        return rest[0]
    raise DataError(
        f"file {data.name}",
        f"must hold the model's inputs ({', '.join(inputs)}) and one array more, the truth",
        got=", ".join(names) or "nothing",
        todo="Name each array as the model names its input: numpy.savez(file, <input>=...)",
    )


def _names(data: Path) -> list[str]:
    try:
        with zipfile.ZipFile(data) as arrays:
            return sorted(name.removesuffix(".npy") for name in arrays.namelist())
    except (OSError, zipfile.BadZipFile) as fault:
        raise DataError(
            f"file {data.name}",
            "must be an .npz file of plain numbers",
            got=getattr(fault, "strerror", None) or fault,
            todo="Write it with numpy.savez(file, <input>=..., truth=...)",
        ) from fault


def _try(found: Fit, template: str, model: Path, data: Path) -> None:
    """The first three steps of the loop, kept nowhere."""
    content = yaml.safe_load(found.filled(template, model.absolute(), data.absolute()))
    loop, faults = parse(content, Path())
    if loop is None:
        raise DataError(f"file {data.name}", faults[0].text(None))
    with durable.scratch("a look at both files") as scratch:
        _rehearse(loop, scratch)


def _rehearse(loop: LoopFile, scratch: Path) -> None:
    folders = [scratch / name for name in ("data", "split", "recipe")]
    for folder in folders:
        folder.mkdir()
    data, split, recipe = (Context(scratch=folder, seed=loop.settings.seed) for folder in folders)
    rows = loop.split.run(loop.source.load(data), split)
    loop.recipe.build(rows, recipe)
