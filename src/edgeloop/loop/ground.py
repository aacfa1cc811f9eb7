"""What this machine must have before work starts, and what it lacks."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

EXTRAS = {  # extra -> modules that it brings
    "device": ("numpy", "onnxruntime", "datasketches"),
    "train": ("torch", "onnx", "onnxscript", "safetensors", "mlflow"),
    "server": ("fastapi", "uvicorn", "sqlalchemy", "alembic"),
    "report": ("matplotlib", "jinja2"),
}
LEAST_FREE = 1 << 30  # bytes; a training with its store and MLflow takes about a tenth


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing that is looked for."""

    name: str
    good: bool
    found: str
    todo: str = ""


def examine(folder: Path) -> list[Need]:
    """Python, free space under ``folder``, and every extra."""
    return [_python(), _space(folder), *(_extra(name) for name in EXTRAS)]


def _python() -> Need:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Need(
        name="python", good=sys.version_info >= (3, 11), found=found, todo="Use 3.11 or newer"
    )


def _space(folder: Path) -> Need:
    free = shutil.disk_usage(folder).free
    return Need(
        name="free space",
        good=free >= LEAST_FREE,
        found=f"{free / 1e9:.1f} GB",
        todo=f"Free {LEAST_FREE / 1e9:.0f} GB under {folder}",
    )


def _extra(name: str) -> Need:
    absent = [module for module in EXTRAS[name] if find_spec(module) is None]
    found = f"no {', '.join(absent)}" if absent else _versions(EXTRAS[name])
    return Need(
        name=f"extra {name}",
        good=not absent,
        found=found,
        todo=f"pip install -c constraints.txt 'edgeloop[{name}]'",
    )


def _versions(modules: tuple[str, ...]) -> str:
    found = []
    for module in modules:
        try:
            found.append(f"{module} {version(module)}")
        except PackageNotFoundError:  # mlflow's light client has another distribution name
            found.append(module)
    return ", ".join(found)
