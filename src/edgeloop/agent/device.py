"""What this device is: its target, its execution class, the runtimes that it can load."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgeloop.plugins import get, names
from edgeloop.runtimes.program import known as steps

MACHINES = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm64", "arm64": "arm64"}
# the first line whose flags the processor has names its class: integer kernels differ between them
CLASSES = (
    ("x86-avx512-vnni", {"avx512_vnni"}),
    ("x86-avx-vnni", {"avx_vnni"}),
    ("x86-avx512", {"avx512f", "avx512bw"}),
    ("x86-avx2", {"avx2"}),
    ("arm64-i8mm", {"i8mm"}),
    ("arm64-dotprod", {"asimddp"}),
)


@dataclass(frozen=True, kw_only=True)
class Device:
    """``target`` is the class of devices, e.g. ``linux-x86``; ``execution`` that of its kernels."""

    target: str
    execution: str
    runtimes: tuple[str, ...]


def detect(target: str = "auto") -> Device:
    """What the machine is; ``target`` overrules what is found."""
    machine = MACHINES.get(platform.machine().lower(), platform.machine().lower())
    found = f"{platform.system().lower()}-{machine}"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return Device(
        target=found if target == "auto" else target,
        execution=execution_class(machine, flags),
        runtimes=runtimes(),
    )


def execution_class(machine: str, cpuinfo: str) -> str:
    """The class of ``machine`` (``x86``, ``arm64`` ...) by ``/proc/cpuinfo``'s flags."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = {
        flag
        for name, _, values in lines
        if name.strip() in {"flags", "Features"}
        for flag in values.split()
    }
    fitting = (name for name, needed in CLASSES if name.startswith(machine) and needed <= flags)
    return next(fitting, machine)


def runtimes() -> tuple[str, ...]:
    """Runtimes (without version) and program steps whose libraries are installed here."""
    classes = {name.rpartition(".v")[0]: get("runtime", name) for name in names("runtime")}
    offered = {n: c for n, c in classes.items() if not getattr(c, "reference_only", False)}
    return tuple(sorted(n for n, c in (offered | steps()).items() if _has_libraries(c)))


def accelerators() -> frozenset[str]:
    """What the runtimes that are installed here can run graphs on: ``cpu``, ``cuda`` ...

    Each is asked, and loads its library for that: call it only where a bundle wants to know.
    """
    classes = [get("runtime", name) for name in names("runtime")]
    asked = (getattr(one, "accelerators", None) for one in classes if _has_libraries(one))
    return frozenset(name for ask in asked if ask is not None for name in ask())


def _has_libraries(cls: type) -> bool:
    return all(_installed(library) for library in getattr(cls, "libraries", ()))


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
