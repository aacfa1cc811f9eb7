"""A step's key: what decides whether it must run again.

It covers the plugin's name and version, its source and what of ours it imports, the versions of the
libraries that it names, its parameters, the seed, its parents' digests and, where the result holds
for one machine only, that machine.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import edgeloop
from edgeloop.store.manifest import canonical
from edgeloop.types import Json, MadeBy

BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # where statements stand


def made_by(
    kind: str,
    plugin: object,
    *,
    parents: Sequence[str],
    seed: int,
    folder: Path,
    also: Sequence[type] = (),
    called: str = "",
    threads: int = 1,
) -> MadeBy:
    """Everything that a step's key covers, and the key.

    ``also`` names classes that the step reaches through the registry rather than by an import: the
    runtime that loads its model, the answer kind. A plugin that itself imports modules by name says
    which in ``modules``. ``called`` is the step's name where its plugin's is not enough. Sums over
    another number of ``threads`` round otherwise.
    """
    cls = type(plugin)
    name = f"{kind}/{cls.plugin_name}"  # type: ignore[attr-defined]
    modules = (*(c.__module__ for c in (cls, *also)), *getattr(plugin, "modules", ()))
    covered: dict[str, Any] = {
        "plugin": name,
        "source": _combined(sorted({source_digest(name) for name in modules})),
        "params": {
            **parameters(plugin),
            **_inputs(plugin, folder),
            **({"called": called} if called else {}),
            **({"threads": threads} if threads > 1 else {}),
        },
        "libraries": library_versions({name for c in (cls, *also) for name in _libraries(c)}),
        "seed": seed,
        "machine": machine() if getattr(cls, "machine_bound", False) else "",
    }
    key = hashlib.sha256(canonical([covered, list(parents)])).hexdigest()
    return MadeBy(key=key, **covered)


def parameters(plugin: object) -> Mapping[str, Json]:
    """A plugin's fields as JSON."""
    dumped: Mapping[str, Json] = TypeAdapter(type(plugin)).dump_python(plugin, mode="json")
    return dumped


def _inputs(plugin: object, folder: Path) -> Mapping[str, Json]:
    """The digest of files that a plugin's parameters name (from ``folder``), when it says so."""
    digest = getattr(plugin, "inputs_digest", None)
    return {} if digest is None else {"inputs_digest": digest(folder)}


def _libraries(plugin: type) -> Sequence[str]:
    named: Sequence[str] = getattr(plugin, "libraries", ())
    return named


def library_versions(distributions: Iterable[str]) -> dict[str, str]:
    """The installed version of each; ``absent`` for one that is not installed."""
    return {name: _version(name) for name in sorted(distributions)}


@cache
def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"


@cache
def source_digest(module: str) -> str:
    """sha256 hex over a module and all that it imports of its own package and of edgeloop."""
    packages = frozenset({module.partition(".")[0], "edgeloop"})
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        path = _file(name)
        if path is None:
            continue
        text = path.read_bytes()
        seen[name] = hashlib.sha256(text).hexdigest()
        waiting.extend(_imports(name, text, packages, is_package=path.name == "__init__.py"))
    return _combined([f"{name} {digest}" for name, digest in sorted(seen.items())])


@cache  # most plugins reach the same modules, and parsing them is most of what a key costs
def _imports(
    name: str, text: bytes, packages: frozenset[str], *, is_package: bool
) -> tuple[str, ...]:
    found: list[str] = []
    for node in _statements(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(name, node, is_package=is_package)
            if base == "edgeloop":  # the public names: only the modules behind them
                found += [
                    edgeloop.EXPORTS.get(alias.name, f"edgeloop.{alias.name}")
                    for alias in node.names
                ]
            else:
                found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(module for module in found if module.partition(".")[0] in packages)


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Every statement at any depth. Expressions hold no imports, and are most of a tree."""
    waiting: list[Any] = [tree]
    while waiting:
        one = waiting.pop()
        parts = [part for block in BLOCKS for part in getattr(one, block, ())]
        waiting += parts
        yield from (part for part in parts if isinstance(part, ast.stmt))


def _absolute(name: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = name.split(".")
    parts = parts[: len(parts) - node.level + int(is_package)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _file(module: str) -> Path | None:
    """The source of a module, without importing it; None for a name inside a module."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # "edgeloop.types.Model": the parent is no package
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _combined(digests: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@cache
def machine() -> str:
    """A name for this machine that tells nothing of it but is the same next time."""
    facts = [platform.node(), platform.machine(), _processor()]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{len(names)} x {names[0] if names else platform.processor()}"
