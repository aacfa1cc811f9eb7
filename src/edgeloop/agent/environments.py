"""Environments of the agent, side by side: made of the wheels of a payload, offline, each once.

``environments/<name>/`` is a virtual environment whose packages come from the payload's wheels;
what these do not bring comes from the launcher's own environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeloop import durable
from edgeloop.agent.launcher import PLACES, startable
from edgeloop.errors import HandlerError

if TYPE_CHECKING:
    from edgeloop.agent.commands import Commands
    from edgeloop.protocol.messages import ReleaseRef

NAME = 16  # hex digits of a bundle's digest
WHEEL = re.compile(r"([A-Za-z0-9._]+)-([A-Za-z0-9._!+]+)(-[A-Za-z0-9._]+){3,4}\.whl")
ALONE = "-I"  # nothing of the folder or the variables that a command happens to be started with


class About(BaseModel):
    """What the agent of an environment says of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str
    formats: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Environments:
    """Those of an agent's folder. ``python`` is the launcher's own."""

    folder: Path
    python: str
    commands: Commands
    timeout_seconds: float = 600

    def name(self, ref: ReleaseRef | None) -> str:
        """Of a release; "" is the launcher's own, which no release made."""
        return ref.digest.removeprefix("sha256:")[:NAME] if ref is not None else ""

    def there(self, name: str) -> bool:
        """Whether it was made whole, and still has an interpreter."""
        return not name or startable(self.folder, name)

    def make(self, ref: ReleaseRef, files: Mapping[str, Path]) -> None:
        """Make the environment of a release from its checked wheels, unless it is there.

        Raises:
            HandlerError: there is no wheel among them, or they do not go together.
        """
        name = self.name(ref)
        if self.there(name):
            return
        half = self._place(f".{name}.half")
        for place in (half, self._place(name)):  # one of which may have lost its interpreter
            shutil.rmtree(place, ignore_errors=True)
        durable.make_folder(half.parent)
        self._run("venv", self.python, ALONE, "-m", "venv", "--without-pip", str(half))
        self._install(half, {n: path for n, path in files.items() if n.endswith(".whl")})
        os.sync()  # thousands of files, none of which may be torn
        durable.settle(half, self._place(name))

    def about(self, ref: ReleaseRef) -> About:
        """Start its Python, and let its agent say what it is.

        Raises:
            HandlerError: it does not start.
        """
        python = str(self._place(self.name(ref)) / "bin" / "python")
        said = self._run("start", python, ALONE, "-m", "edgeloop.agent", "formats")
        try:
            return About.model_validate_json(said)
        except ValidationError as fault:
            rule = "must say its version and formats"
            raise HandlerError("agent of the new environment", rule, got=said[:200]) from fault

    def keep_only(self, names: set[str]) -> None:
        """Remove every environment but these."""
        places = self.folder / PLACES
        for place in places.iterdir() if places.is_dir() else ():
            if place.name not in names:
                shutil.rmtree(place, ignore_errors=True)

    def _install(self, half: Path, wheels: Mapping[str, Path]) -> None:
        if not wheels:
            raise HandlerError("payload of the agent", "must have wheels", got="none")
        lines = [_pinned(name, path) for name, path in sorted(wheels.items())]
        site = next((half / "lib").glob("python3*")) / "site-packages"
        house = half / "wheels"
        house.mkdir()
        for name, path in wheels.items():
            shutil.copyfile(path, house / name)
        (half / "requirements.txt").write_text("\n".join(lines), encoding="ascii")
        options = ("--no-index", "--no-deps", "--require-hashes", "--no-compile", "--find-links")
        self._run(
            "install",
            *(self.python, ALONE, "-m", "pip", "--python", str(half / "bin" / "python")),
            *("install", "--disable-pip-version-check", "--no-cache-dir", "--quiet"),
            *(*options, str(house), "-r", str(half / "requirements.txt")),
        )
        shutil.rmtree(house)
        beside = self._run("packages", self.python, ALONE, "-c", BASE)
        (site / "launcher.pth").write_text(f"{beside}\n", encoding="utf-8")

    def _run(self, what: str, *command: str) -> str:
        thing = f"command {what} of the new environment"
        return self.commands.run(thing, command, {}, self.timeout_seconds)

    def _place(self, name: str) -> Path:
        return self.folder / PLACES / name


BASE = "import sysconfig; print(sysconfig.get_paths()['purelib'])"


def _pinned(name: str, path: Path) -> str:
    parts = WHEEL.fullmatch(name)
    if parts is None:
        rule = "must be named as wheels are: package-version-python-abi-platform.whl"
        raise HandlerError(f"wheel {name}", rule)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"{parts[1]}=={parts[2]} --hash=sha256:{digest}"
