"""A YAML file that a person wrote: its content, its lines, and the keys that it has twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgeloop.errors import FileFaultsError
from edgeloop.loop.faults import Fault, given_twice


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was read; ``tree`` knows the line of each field."""

    content: dict[str, Any]
    tree: yaml.Node | None
    twice: tuple[Fault, ...]


def read(path: Path, kind: type[FileFaultsError], *, todo: str) -> Written:
    """Read a mapping of sections; ``todo`` is for whoever has no such file.

    Raises:
        FileFaultsError: as ``kind``, it cannot be read, is not YAML or is no mapping.
    """
    try:
        text = path.read_text()
        tree = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
        twice = tuple(given_twice(tree))
    except OSError as fault:
        rule = "must be a file that can be read"
        raise kind(str(path), rule, got=fault.strerror, todo=todo) from fault
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise kind(str(path), "must be YAML", got=" ".join(str(fault).split())) from fault
    if not isinstance(content, dict):
        raise kind(str(path), "must be a mapping of sections", got=type(content).__name__)
    return Written(content=content, tree=tree, twice=twice)
