"""How large the base install is, by package, and with a runtime beside it."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

from environments import ROOT, base_install, environment
from figure import Figure, Measured, main

LARGEST_SHOWN = 8


def measure(work: Path) -> Measured:
    """Two environments that pip has just made."""
    base, python = base_install(), environment(work)
    size, whole = base.installed_bytes(python), environment(work, "device")
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    figures = (
        Figure(
            what="base install, without .pyc and pip",
            value=_mb(size),
            target="70 MB or less",
            met=size <= base.MOST_BYTES,
            parts=_parts(python),
        ),
        Figure(
            what="direct dependencies of the base",
            value=str(len(direct)),
            target="12 or fewer",
            met=len(direct) <= base.MOST_DIRECT,
            parts=(", ".join(direct),),
        ),
        Figure(
            what="base and extra `device` (runtime, numpy, sketches)",
            value=_mb(base.installed_bytes(whole)),
            parts=_parts(whole),
        ),
    )
    return Measured(figures=figures)


def _parts(python: Path) -> tuple[str, ...]:
    """The largest packages first; the rest as one line."""
    (site,) = (python.parents[1] / "lib").glob("python*/site-packages")
    tools = base_install().TOOLS
    sizes = {d.name: _size(d) for d in distributions(path=[str(site)]) if d.name not in tools}
    ordered = sorted(sizes.items(), key=lambda pair: -pair[1])
    rest = ordered[LARGEST_SHOWN:]
    lines = [f"{name} {_mb(size)}" for name, size in ordered[:LARGEST_SHOWN]]
    return (", ".join(lines), f"{len(rest)} others {_mb(sum(size for _, size in rest))}")


def _size(package: Distribution) -> int:
    """Bytes of the files that a package has installed."""
    files = (Path(str(f.locate())) for f in package.files or () if f.suffix != ".pyc")
    return sum(path.stat().st_size for path in files if path.is_file())


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
