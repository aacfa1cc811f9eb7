"""The study file: loops, arms and seeds to compare, declared, with every fault told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from edgeloop.errors import LoopFileError, OverrideError, StudyFileError
from edgeloop.loop.faults import Fault, broken, told
from edgeloop.loop.file import LoopFile, load_loop
from edgeloop.loop.written import read
from edgeloop.protocol.messages import Name

END = "...\n"  # which YAML's writer puts behind a plain value
Overrides = dict[str, Any]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _each_once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("must name each seed once")
    return seeds


class StudiedLoop(_Section):
    """A loop file that is studied."""

    file: Path
    override: Annotated[
        Overrides,
        Field(description="Fields of the loop file that differ in every arm: `recipe.epochs: 4`"),
    ] = {}


class StudyStructure(_Section):
    """The study file as it is written."""

    study: Name
    question: Annotated[str, Field(min_length=1)]
    store: Path = Path(".edgeloop")
    loops: Annotated[
        dict[Name, StudiedLoop],
        Field(
            min_length=1,
            description="Loop files by a name of your own: `digits: {file: ../digits/loop.yaml}`",
        ),
    ]
    seeds: Annotated[
        tuple[Seed, ...],
        Field(min_length=2, description="Two or more, each in place of the loop files' `seed`"),
        AfterValidator(_each_once),
    ]
    arms: Annotated[
        dict[Name, Overrides],
        Field(
            min_length=2,
            description="Fields of each loop file that differ in this arm: `passes: [export_onnx]`,"
            " or `{}` for the loop file as it is",
        ),
    ]
    measure: Annotated[
        str, Field(description="The check of the loop files whose value is compared")
    ]
    baseline: Annotated[str, Field(description="The arm that the others are compared with")]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One loop as one arm has it; its only check is the study's measure."""

    loop: str
    arm: str
    file: LoopFile

    def at(self, seed: int) -> LoopFile:
        """The loop of one repetition."""
        return replace(self.file, settings=self.file.settings.model_copy(update={"seed": seed}))


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """A valid study file with its loops loaded. Paths are relative to ``folder``."""

    folder: Path
    settings: StudyStructure
    variants: tuple[Variant, ...]  # by loop as written; of each the baseline first

    @property
    def name(self) -> str:
        """The study's name."""
        return self.settings.study

    @property
    def store(self) -> Path:
        """Where its artifacts go."""
        return self.folder / self.settings.store


def load_study(path: Path) -> StudyFile:
    """Read and check a study file and every loop file that it names, as each arm has it.

    Raises:
        StudyFileError: it cannot be read, or has faults; all of them are named, with their lines.
    """
    written = read(path, StudyFileError, todo="See docs/how-to/study.md")
    faults = list(written.twice)
    settings: StudyStructure | None = None
    try:
        settings = StudyStructure.model_validate(written.content)
    except ValidationError as error:
        faults += broken((), error)
    arms = _arms(written.content)
    baseline = written.content.get("baseline")
    if arms and isinstance(baseline, str) and baseline not in arms:
        rule = f"must be one of the arms: {', '.join(arms)}"
        faults.append(Fault(where=("baseline",), rule=rule, got=baseline))
    variants = _variants(written.content, arms, path.parent, faults)
    if settings is None or faults:
        listed = told(faults, written.tree)
        raise StudyFileError(str(path), f"has {listed.text}").carrying(listed.each)
    first = sorted(variants, key=lambda one: one.arm != baseline)
    ordered = sorted(first, key=lambda one: list(settings.loops).index(one.loop))
    return StudyFile(folder=path.parent, settings=settings, variants=tuple(ordered))


def _arms(content: Mapping[str, Any]) -> dict[str, Overrides]:
    """The arms that can be tried, also in a file with other faults."""
    arms = content.get("arms")
    if not isinstance(arms, dict):
        return {}
    return {str(name): one for name, one in arms.items() if isinstance(one, dict)}


def _variants(
    content: Mapping[str, Any], arms: Mapping[str, Overrides], folder: Path, faults: list[Fault]
) -> list[Variant]:
    """Each loop that can be loaded, in each arm; what cannot be is added to ``faults``."""
    found: list[Variant] = []
    for name, path, override in _loops(content, folder):
        where = ("loops", name, "override")
        if not _loaded(path, name, override, where, faults):
            continue
        for arm, changes in arms.items():
            loop = _loaded(path, name, {**override, **changes}, ("arms", arm), faults)
            measured = loop and _measured(loop, name, arm, content.get("measure"), faults)
            if measured:
                found.append(Variant(loop=name, arm=arm, file=measured))
    return found


def _loops(content: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Path, Overrides]]:
    loops = content.get("loops")
    for name, loop in loops.items() if isinstance(loops, dict) else ():
        told = loop if isinstance(loop, dict) else {}
        path, override = told.get("file"), told.get("override", {})
        if isinstance(path, str) and isinstance(override, dict):
            yield str(name), folder / path, override


def _loaded(
    path: Path, loop: str, changes: Overrides, where: tuple[str, ...], faults: list[Fault]
) -> LoopFile | None:
    """The loop with ``changes``; None, with its faults under ``where``, when it has any."""
    try:
        return load_loop(path, [_override(key, value) for key, value in changes.items()])
    except OverrideError as error:
        rule = f"must fit loop {loop}: {error.thing} {error.rule}"
        faults.append(Fault(where=where, rule=rule, got=error.got))
    except LoopFileError as error:
        if not error.faults:
            faults.append(Fault(where=("loops", loop, "file"), rule=error.rule, got=error.got))
        faults += [_fault(one, loop, changes, where) for one in error.faults]
    return None


def _fault(one: Mapping[str, Any], loop: str, changes: Overrides, where: tuple[str, ...]) -> Fault:
    """A fault of a loop file, told of the override that it came from; else of the loop file."""
    field = one["field"]
    keys = [key for key in changes if f"{field}.".startswith(f"{key}.")]
    place = (*where, max(keys, key=len)) if keys else ("loops", loop, "file")
    rule = f"must fit loop {loop}" if keys else "must be without faults"
    said = f"{rule}: {field or 'the file'} {one['rule']}"
    return Fault(where=place, rule=said, got=one["value"])


def _override(key: str, value: Any) -> str:
    """``key=value`` as on the command line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return f"{key}={text.removesuffix(END).rstrip()}"


def _measured(
    loop: LoopFile, name: str, arm: str, measure: Any, faults: list[Fault]
) -> LoopFile | None:
    """``loop`` with the check ``measure`` alone."""
    names = {type(check).plugin_name: called for called, check in loop.checks.items()}
    names |= {called: called for called in loop.checks}
    if measure in names:
        called = names[measure]
        return replace(loop, checks={called: loop.checks[called]})
    if isinstance(measure, str):
        known = ", ".join(loop.checks) or "none"
        rule = f"must be a check of loop {name} in arm {arm}: one of {known}"
        faults.append(Fault(where=("measure",), rule=rule, got=measure))
    return None
