"""The template loop's first six steps as a DVC pipeline, for a rerun beside ours.

Each stage puts the same bytes in place that our step keeps, and depends on the stage before it, on
the source of our plugin and on the parameters in the loop file. Only a rerun is timed, never this.
"""

from __future__ import annotations

import importlib.util
import shutil
import venv
from functools import partial
from pathlib import Path

import yaml

from edgeloop.store.artifacts import Store
from edgeloop.types import Artifact
from environments import ROOT
from timing import run

VERSION = "3.67.1"
STAGES = {  # stage -> (the plugin of our step, what it reads of the loop file)
    "data": ("source/builtin.v1", "data.source"),
    "split": ("split/stratified.v1", "data.split"),
    "recipe": ("recipe/image_classifier.v1", "recipe"),
    "export_onnx": ("pass/export_onnx.v1", "passes"),
    "quantize": ("pass/quantize.v1", "passes"),
    "accuracy": ("check/accuracy.v1", "checks.accuracy"),
}
SOURCES = {
    "data": "data.builtin",
    "split": "data.split",
    "recipe": "recipes.image_classifier",
    "export_onnx": "passes.export_onnx",
    "quantize": "passes.quantize",
    "accuracy": "checks.accuracy",
}
# what asks the network or reports home is off, in favour of DVC
OFF = {"DVC_NO_ANALYTICS": "1", "CI": "1"}


def installed(work: Path) -> Path:
    """The program ``dvc``, in an environment of its own.

    Raises:
        RuntimeError: it does not install here.
    """
    folder = work / "environment-dvc"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True)
        run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", f"dvc=={VERSION}"])
        (folder / "ready").touch()
    return folder / "bin" / "dvc"


def prepared(dvc: Path, folder: Path, loop: Path) -> Path:
    """A DVC project in ``folder`` whose stages have all run."""
    folder.mkdir(parents=True)
    store = Store(loop.parent / ".edgeloop")
    shutil.copy(loop, folder / "loop.yaml")
    for name, (plugin, _) in STAGES.items():
        made = next(a for a in store.artifacts() if a.made_by.plugin == plugin)
        _lay_out(folder / "given" / name, made, store)
        shutil.copy(_source(name), folder / f"{name}.py")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": _stages()}, sort_keys=False))
    ask = partial(run, folder=folder, env=OFF)
    ask([dvc, "init", "--no-scm", "--quiet"])
    ask([dvc, "config", "core.analytics", "false"])
    ask([dvc, "config", "core.check_update", "false"])
    ask([dvc, "repro"])
    return folder


def rerun(dvc: Path, folder: Path) -> str:
    """What ``dvc repro`` says."""
    return run([dvc, "repro"], folder, OFF)


def stages_run(folder: Path) -> int:
    """How many stages have run in this project, ever."""
    return len((folder / "ran.log").read_text().splitlines())


def _lay_out(folder: Path, made: Artifact, store: Store) -> None:
    """The files of an artifact and its manifest: what a step of ours keeps."""
    folder.mkdir(parents=True)
    for name, path in made.files.items():
        shutil.copy(path, folder / name)
    (folder / "manifest.json").write_bytes(store.layout.read(made.digest))


def _source(name: str) -> Path:
    found = importlib.util.find_spec(f"edgeloop.{SOURCES[name]}")
    if found is None or found.origin is None:
        raise RuntimeError(f"no source of {name} under {ROOT}")
    return Path(found.origin)


def _stages() -> dict[str, object]:
    stages: dict[str, object] = {}
    before: list[str] = []
    for name, (_, params) in STAGES.items():
        stages[name] = {
            "cmd": f"echo {name} >> ran.log && mkdir -p out && cp -r given/{name} out/{name}",
            "deps": [f"{name}.py", *before],
            "params": [{"loop.yaml": [params]}],
            "outs": [f"out/{name}"],
        }
        before = [f"out/{name}"]
    return stages
