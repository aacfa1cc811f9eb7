"""The loop file: the whole loop of one model, declared, with every fault reported at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edgeloop import plugins
from edgeloop.errors import LoopFileError, OverrideError, UnknownPluginError
from edgeloop.loop.faults import Fault, broken, told
from edgeloop.loop.written import read
from edgeloop.protocol import stages
from edgeloop.protocol.messages import (
    Abort,
    Asks,
    Conditions,
    Group,
    Name,
    Probation,
    RolloutPlan,
    Stage,
)
from edgeloop.quantities import Milliseconds, Seconds, Size
from edgeloop.release.bundle import MAIN, UsedWhen, VariantName

Params = dict[str, Any]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _not_main(name: str) -> str:
    if name == MAIN:
        raise ValueError(f"must not be {MAIN!r}, which is what `passes` make")
    return name


def _names_differ(variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    names = [one.name for one in variants]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"must have names of their own, got {twice[0]!r} twice")
    return variants


class Data(_Section):
    """Where rows come from, and how they are divided."""

    source: str | Params  # "builtin:mnist-5k", "folder:pictures", or {use: ..., ...}
    split: Params = {}


class Release(_Section):
    """Where releases are published and with which keys."""

    channel: Name = "stable"
    keys: Path = Path("keys")
    repository: Path = Path("repository")
    golden: Annotated[int, Field(ge=1, le=256)] = 16  # samples that a device must reproduce
    tolerance: Annotated[float, Field(gt=0)] = 0.02  # in the unit of the answer kind's parity
    memory_mb: Annotated[float, Field(gt=0)] | None = None
    latency: Milliseconds | None = None  # p95 on the device
    deltas: Annotated[int, Field(ge=0, le=16)] = 2  # earlier releases that one leads from


STRICT = ConfigDict(
    extra="forbid"
)  # messages ignore what they do not know; a person's typo is told


def _in_order(written: tuple[int | str, ...]) -> tuple[int | str, ...]:
    if wrong := stages.out_of_order(written):
        raise ValueError(wrong)
    return written


class _Group(Group):
    model_config = STRICT

    stages: Annotated[tuple[Stage, ...], Field(min_length=1), AfterValidator(_in_order)] = (
        Group.model_fields["stages"].default
    )


class _Probation(Probation):
    model_config = STRICT


class _Abort(Abort):
    model_config = STRICT


class _Conditions(Asks):
    """When a device takes the release up."""

    model_config = STRICT

    deadline: Annotated[Seconds, Field(gt=0)] = 7 * 86_400  # after which nothing holds it back

    def signed(self) -> Conditions:
        """As the plan has them."""
        asks = self.model_dump(exclude={"deadline"})
        return Conditions(**asks, deadline_seconds=self.deadline)


class Rollout(_Section):
    """Who gets a release, in what order, and when to stop; becomes the signed plan."""

    groups: Annotated[tuple[_Group, ...], Field(min_length=1)] = (_Group(select="all"),)
    soak: Annotated[Seconds, Field(ge=0)] = 60
    deadline: Annotated[Seconds, Field(gt=0)] = 3600
    min_answers: Annotated[int, Field(ge=0)] = 20
    probation: _Probation = _Probation()
    abort: tuple[_Abort, ...] = (
        _Abort(of="FAILED", over=5, min_executed=1),
        _Abort(of="TIMED_OUT", over=20, min_executed=4),
    )
    conditions: _Conditions = _Conditions()
    urgent: Annotated[
        bool,
        Field(
            description="For a security fix: sets every condition aside, those of a device's own"
            ' settings and a user\'s "not now" too. A limit of bandwidth stays.'
        ),
    ] = False
    bandwidth: Annotated[
        Annotated[Size, Field(ge=1024)] | None,
        Field(description="Bytes per second at which one device may fetch files."),
    ] = None
    postpone: Annotated[
        Seconds, Field(ge=0, description='The longest "not now" of a user; 0 allows none.')
    ] = 86_400

    def plan(self) -> RolloutPlan:
        """The document that is signed with the release."""
        return RolloutPlan(
            groups=tuple(Group(**group.model_dump()) for group in self.groups),
            soak_seconds=self.soak,
            deadline_seconds=self.deadline,
            min_answers=self.min_answers,
            probation=Probation(**self.probation.model_dump()),
            abort=tuple(Abort(**rule.model_dump()) for rule in self.abort),
            conditions=self.conditions.signed(),
            urgent=self.urgent,
            bandwidth=self.bandwidth,
            postpone_seconds=self.postpone,
        )


class When(_Section):
    """When a device may use a variant; what is not said is no condition."""

    free_memory: (
        Annotated[Size, Field(gt=0, description="At least so much, when it is loaded.")] | None
    ) = None
    battery: (
        Annotated[
            float,
            Field(gt=0, le=100, description="Percent, at least; a device that charges has enough."),
        ]
        | None
    ) = None
    temperature: (
        Annotated[float, Field(ge=-50, le=200, description="Degrees Celsius, at most.")] | None
    ) = None
    accelerator: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9]{0,32}$",
            description="Runs on it, and only where the device has it: `cuda`, `tensorrt`,"
            " `openvino`, `coreml` ..., as ONNX Runtime calls its execution providers.",
        ),
    ] = ""

    def conditions(self) -> UsedWhen:
        """As the bundle tells devices."""
        return UsedWhen(
            free_memory_mb=None if self.free_memory is None else self.free_memory / 1e6,
            battery_percent=self.battery,
            temperature_c=self.temperature,
            accelerator=self.accelerator,
        )


class Variant(_Section):
    """One graph more in the bundle, from the same recipe, preferred to those behind it."""

    name: Annotated[VariantName, AfterValidator(_not_main)]
    passes: tuple[str | Params, ...] = ()
    checks: Annotated[
        dict[str, Any],
        Field(description="Those of the loop that are held otherwise; the others are as there."),
    ] = {}
    when: When = When()
    tolerance: Annotated[float, Field(gt=0)] | None = None  # None: as the release has it
    memory_mb: Annotated[float, Field(gt=0)] | None = None
    latency: Milliseconds | None = None


class Drift(_Section):
    """The limit of the population stability index against the nearest declared profile."""

    psi: Annotated[float, Field(gt=0)] = 0.25
    features: Annotated[int, Field(ge=1)] = 2  # so many features must be beyond it


class OnDrift(_Section):
    """What the trigger starts."""

    run: Literal["self"] = "self"
    samples: Annotated[int, Field(ge=1)] = 300  # budget for the whole group
    wait: Seconds = 120  # for devices to send them
    recipe: Params = {}  # parameters of the recipe that differ in the fine-tune


class Watch(_Section):
    """What brings the loop round again."""

    window: Annotated[int, Field(ge=50)] = 300  # newest answers of a group that are judged
    label: str = "site"  # groups of devices are compared by this label
    drift: Drift = Drift()
    on_drift: OnDrift | None = None


class Structure(_Section):
    """The loop file as it is written."""

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    threads: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="Threads of a training. The same weights come out for the same seed and"
            " number of threads; all that is timed has one thread, as a small device would.",
        ),
    ] = 1
    store: Path = Path(".edgeloop")
    track: str = ""  # an MLflow tracking URI; "" is a SQLite file beside the store
    data: Data
    recipe: Params
    passes: tuple[str | Params, ...] = ()
    variants: Annotated[
        tuple[Variant, ...],
        Field(
            max_length=8,
            description="Further graphs in the bundle, the most wanted first. A device uses the"
            " first whose conditions hold, and what `passes` make where none does.",
        ),
        AfterValidator(_names_differ),
    ] = ()
    targets: Annotated[
        tuple[Name, ...],
        Field(
            description="The classes of devices that may take a release: free names, which devices"
            " enrol with (`edgeloop agent enrol --target`). A device of another class is passed"
            " over. Without any, every device may."
        ),
    ] = ()
    checks: Annotated[
        dict[str, Any],
        Field(
            description="The parameters of each; a list of them where one stands several times,"
            " whose findings are then named by the parameter that differs: `worst_group.sex`."
        ),
    ] = {}
    release: Release = Release()
    rollout: Rollout = Rollout()
    watch: Watch = Watch()


@dataclass(frozen=True, kw_only=True)
class LoopVariant:
    """One variant, with its plugins made; ``checks`` are all that it must pass."""

    settings: Variant
    passes: tuple[Any, ...]
    checks: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it is called on devices."""
        return self.settings.name


@dataclass(frozen=True, kw_only=True)
class LoopFile:
    """A valid loop file, with its plugins made. Paths are relative to ``folder``."""

    folder: Path
    settings: Structure
    source: Any
    split: Any
    recipe: Any
    fine_tune: Any  # the recipe as the trigger starts it
    passes: tuple[Any, ...]
    checks: Mapping[str, Any]  # by the name of their findings
    variants: tuple[LoopVariant, ...] = ()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.name

    def path(self, relative: Path) -> Path:
        """A path of the loop file as one from here."""
        return self.folder / relative


def load_loop(path: Path, overrides: Sequence[str] = ()) -> LoopFile:
    """Read and check a loop file.

    ``overrides`` are ``key=value`` with dots between keys and YAML values
    (``recipe.epochs=2``, ``passes.0.quantize.calibrate=64``).

    Raises:
        LoopFileError: it cannot be read, or has faults; all of them are named, with their lines.
        OverrideError: an override is not ``key=value`` or names a place that cannot be.
    """
    written = read(path, LoopFileError, todo="See `edgeloop init`")
    for override in overrides:
        _override(written.content, override)
    loop, faults = parse(written.content, path.parent)
    if loop is None or written.twice or faults:
        listed = told([*written.twice, *faults], written.tree)
        raise LoopFileError(str(path), f"has {listed.text}").carrying(listed.each)
    return loop


def parse(content: Mapping[str, Any], folder: Path) -> tuple[LoopFile | None, list[Fault]]:
    """A loop file's content as a loop, or every fault that it has."""
    faults: list[Fault] = []
    settings: Structure | None = None
    try:
        settings = Structure.model_validate(content)
    except ValidationError as error:
        faults += broken((), error)
    recipe = _plugin("recipe", *_used(content.get("recipe"), ("recipe",)), faults)
    made = {
        "source": _plugin("source", *_source(content), faults),
        "split": _plugin("split", *_split(content), faults),
        "recipe": recipe,
        "fine_tune": _plugin("recipe", *_fine_tune(content), faults if recipe else []),
        "passes": _passes(content, (), faults),
        "checks": _checks(content.get("checks"), ("checks",), faults),
    }
    if settings is not None and settings.watch.on_drift and not _learns(recipe):
        rule = "needs a recipe that can go on from a model (one with 'start' in its needs)"
        faults.append(Fault(where=("watch", "on_drift"), rule=rule, got=content["recipe"]["use"]))
    variants = _variants(content, settings.variants if settings else (), faults)
    if settings is None or faults:
        return None, faults
    return LoopFile(folder=folder, settings=settings, **made, variants=variants), []


def _learns(recipe: Any) -> bool:
    return recipe is None or "start" in getattr(type(recipe), "needs", ())


Use = tuple[str, Any, tuple[str | int, ...]]  # name, parameters, where they stand


def _source(content: Mapping[str, Any]) -> Use:
    where = ("data", "source")
    source = _get(content, "data", "source")
    if isinstance(source, str):
        name, _, rest = source.partition(":")
        field = {"builtin": "dataset", "folder": "root", "arrays": "file"}.get(name, "address")
        return name, {field: rest}, where
    return _used(source, where)


def _split(content: Mapping[str, Any]) -> Use:
    """The split that is named, or the usual one."""
    section = _get(content, "data", "split") or {}
    where = ("data", "split")
    return _used({"use": "stratified", **section} if isinstance(section, dict) else section, where)


def _used(section: Any, where: tuple[str | int, ...]) -> Use:
    if not isinstance(section, dict):
        return "", {}, where
    return str(section.get("use", "")), {k: v for k, v in section.items() if k != "use"}, where


def _fine_tune(content: Mapping[str, Any]) -> Use:
    """The recipe with what ``watch.on_drift.recipe`` changes."""
    name, params, _ = _used(content.get("recipe"), ("recipe",))
    changed = _get(content, "watch", "on_drift", "recipe") or {}
    return name, {**params, **changed}, ("watch", "on_drift", "recipe")


Where = tuple[str | int, ...]


def _passes(section: Any, under: Where, faults: list[Fault]) -> tuple[Any, ...]:
    """The passes of the file or of a variant, which stands ``under``."""
    return tuple(_plugin("pass", *use, faults) for use in _passes_used(section, under, faults))


def _passes_used(section: Any, under: Where, faults: list[Fault]) -> list[Use]:
    found: list[Use] = []
    for number, entry in enumerate(_get(section, "passes") or ()):
        where = (*under, "passes", number)
        if isinstance(entry, str):
            found.append((entry, {}, where))
        elif isinstance(entry, dict) and len(entry) == 1:
            ((name, params),) = entry.items()
            found.append((str(name), params, (*where, str(name))))
        else:
            rule = "must be the name of a pass, or one name with its parameters"
            faults.append(Fault(where=where, rule=rule, got=entry))
    return found


def _variants(
    content: Mapping[str, Any], settings: Sequence[Variant], faults: list[Fault]
) -> tuple[LoopVariant, ...]:
    """Each with its plugins; where the sections have faults, only to find those of the plugins."""
    written, made = content.get("variants"), []
    for number, section in enumerate(written if isinstance(written, list) else ()):
        where = ("variants", number)
        passes = _passes(section, where, faults)
        own = _get(section, "checks") or {}
        both = {**(content.get("checks") or {}), **own} if isinstance(own, dict) else own
        checks = _checks(both, (*where, "checks"), faults if own else [])
        if number < len(settings):
            made.append(LoopVariant(settings=settings[number], passes=passes, checks=checks))
    return tuple(made)


def _checks(section: Any, under: Where, faults: list[Fault]) -> dict[str, Any]:
    """The checks by their own names; where one stands several times, by what tells it apart."""
    written, found = section or {}, dict[str, Any]()
    for key, params in written.items() if isinstance(written, dict) else ():
        name, where = str(key), (*under, str(key))
        if isinstance(params, list):
            each = [_plugin("check", name, p, (*where, n), faults) for n, p in enumerate(params)]
        else:
            each = [_plugin("check", name, params, where, faults)]
        named = {} if None in each else _told_apart(each, where, faults)
        if not found.keys().isdisjoint(named):
            rule = "must be given once: list its parameters, as [{...}, {...}]"
            faults.append(Fault(where=where, rule=rule))
        found |= named
    return found


def _told_apart(
    each: Sequence[Any], where: tuple[str | int, ...], faults: list[Fault]
) -> dict[str, Any]:
    """``worst_group.sex``: behind the name the first parameter that no two of ``each`` share."""
    own = [str(type(one).plugin_name).rpartition(".v")[0] for one in each]
    if len(each) == 1:
        return {own[0]: each[0]}
    rows = [TypeAdapter(type(one)).dump_python(one, mode="json") for one in each]
    for name in rows[0] if rows else ():
        told = ["" if row[name] is None else f".{row[name]}" for row in rows]
        if len(set(told)) == len(told):
            return {f"{a}{b}": one for a, b, one in zip(own, told, each, strict=True)}
    rule = "must list one check or more, and those with one parameter that no two share"
    faults.append(Fault(where=where, rule=rule, got=rows))
    return {}


def _plugin(
    kind: str, name: str, params: Any, where: tuple[str | int, ...], faults: list[Fault]
) -> Any:
    """The plugin, or None with its faults added."""
    try:
        cls = plugins.get(kind, name)
        return TypeAdapter(cls).validate_python(_known(cls, params or {}, where, faults))
    except UnknownPluginError:
        known = ", ".join(plugins.names(kind))
        faults.append(Fault(where=where, rule=f"must name a {kind}: one of {known}", got=name))
    except ValidationError as error:
        faults += broken(where, error)
    return None


def _known(cls: type[Any], params: Any, where: tuple[str | int, ...], faults: list[Fault]) -> Any:
    """The parameters that ``cls`` has; each other one is a fault, also where ``cls`` allows it."""
    if not isinstance(params, dict):
        return params
    names = {field.name for field in fields(cls)}
    unknown = {key: value for key, value in params.items() if key not in names}
    rule = f"must be a known field: one of {', '.join(sorted(names)) or 'none'}"
    faults += [Fault(where=(*where, key), rule=rule, got=got) for key, got in unknown.items()]
    return {key: value for key, value in params.items() if key in names}


def _get(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _override(content: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise OverrideError(
            f"override {override!r}", "must be key=value", todo="For example recipe.epochs=2"
        )
    *parents, last = dotted.split(".")
    place: Any = content
    for key in parents:
        place = _step_into(place, key, override)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise OverrideError(f"override {override!r}", "must have a YAML value", got=text) from fault
    if isinstance(place, list):
        _step_into(place, last, override)
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise OverrideError(f"override {override!r}", "must name a field of a section", got=dotted)


def _step_into(place: Any, key: str, override: str) -> Any:
    if isinstance(place, list) and key.isdigit() and int(key) < len(place):
        return place[int(key)]
    if isinstance(place, dict):
        if place.get(key) is None:
            place[key] = {}
        return place[key]
    raise OverrideError(f"override {override!r}", "must name a field of a section", got=key)
