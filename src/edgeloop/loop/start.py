"""Write a loop file to start from, with its schema beside it for editors."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

from edgeloop.errors import MissingExtraError, ModelError, OverrideError
from edgeloop.loop.fit import fit, missing
from edgeloop.loop.schema import loop_schema
from edgeloop.loop.templates import FIRST

TEMPLATES = files("edgeloop.loop") / "templates"
OWN = "onnx_file"  # the template of `--from`


def kinds() -> list[str]:
    """The loops that there are to start from."""
    names = (entry.name for entry in TEMPLATES.iterdir() if entry.name.endswith(".yaml"))
    return sorted({name.removesuffix(".yaml") for name in names} - {OWN})


def write_loop(
    folder: Path,
    *,
    kind: str = FIRST,
    model: Path | None = None,
    data: Path | None = None,
) -> Path:
    """Write ``loop.yaml`` and ``loop.schema.json`` into ``folder``; gives the loop file.

    With ``model`` (an ONNX file) and ``data`` (a ``.npz`` sample) it is a loop around that model,
    and both files are copied beside it, once they fit each other.

    Raises:
        OverrideError: an unknown kind, a model without data, or a loop file that is there already.
        MissingExtraError: what looking at both files takes is not installed.
        ModelError, DataError: a file cannot be read, or they do not fit each other.
    """
    path = folder / "loop.yaml"
    if path.exists():
        raise OverrideError(str(path), "must not be there yet", todo="Choose another folder")
    if (model is None) != (data is None):
        raise OverrideError("--from and --data", "must be given together")
    if model is None and kind not in kinds():
        raise OverrideError(f"--kind {kind}", f"must be one of {', '.join(kinds())}")
    text = (TEMPLATES / f"{OWN if model else kind}.yaml").read_text()
    if model is not None and data is not None:
        text = _around(text, model, data)
    folder.mkdir(parents=True, exist_ok=True)
    for source in (one for one in (model, data) if one is not None):
        _copy(source, folder / source.name)
    (folder / "loop.schema.json").write_text(json.dumps(loop_schema(), indent=1))
    path.write_text(text)
    return path


def _around(template: str, model: Path, data: Path) -> str:
    if absent := missing():
        raise MissingExtraError(
            ", ".join(absent),
            "must be installed to look at both files",
            todo="pip install 'edgeloop[train]'",
        )
    return fit(template, model, data).filled(template, Path(model.name), Path(data.name))


def _copy(source: Path, target: Path) -> None:
    try:
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
    except OSError as fault:
        raise ModelError(f"file {source}", "must be readable", got=fault.strerror) from fault
