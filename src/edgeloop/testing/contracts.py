"""The contract kit: what a plugin must keep to, checked with small inputs of one's own.

Ours are tested with it; a third party's tests call the same functions. Each takes a plugin and what
it works on, runs it (twice, where the result must repeat), and raises :class:`ContractError` with
the rule that was broken. Everything that a plugin writes goes to ``context.scratch``.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from edgeloop.answers import open_kind
from edgeloop.errors import InputMismatchError, ModelError
from edgeloop.loop.report.evidence import read
from edgeloop.plugins import needs
from edgeloop.types import PARTS, Finding, Keepable, Model, Snapshot, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Arrays, Json, Session

SAME = 1e-6  # in the unit of an answer kind's parity
NEEDS = frozenset({"snapshot", "reference", "current", "start"})
HEAVY = ("torch", "numpy", "pandas", "onnx", "onnxruntime", "mlflow", "fastapi", "sqlalchemy")
NAME = re.compile(r"[a-z][a-z0-9_]*\.v[1-9][0-9]*")
FOREIGN = "a_field_that_no_plugin_has"


class ContractError(AssertionError):
    """A plugin does not keep to its contract; the message says which rule, and what was got."""


def check_plugin(plugin: Any) -> None:
    """What all kinds share: a frozen value of JSON parameters, registered, light to import.

    Raises:
        ContractError: the class is no frozen keyword-only dataclass, has no name or docstring, its
            parameters do not survive JSON, it takes unknown fields, states ``libraries``,
            ``needs`` or ``machine_bound`` that the runner cannot use, or its module loads a heavy
            library.
    """
    cls = type(plugin)
    _require_frozen(cls)
    _require(bool(NAME.fullmatch(_name(plugin))), cls, "must be registered as <name>.v<n>")
    _require(bool(cls.__doc__ and cls.__doc__.strip()), cls, "must have a docstring")
    _require_parameters(plugin)
    _require_statements(cls)
    heavy = _loaded_by(cls.__module__)
    _require(not heavy, cls, "must be light to import", f"{cls.__module__} loads {heavy}")


def check_source(source: Any, context: Context) -> Snapshot:
    """A source gives the same whole snapshot twice. Gives the snapshot."""
    check_plugin(source)
    snapshot: Snapshot = _twice(source, source.load, context)
    _require(isinstance(snapshot, Snapshot), source, "must give a Snapshot", type(snapshot))
    _require_columns(source, snapshot)
    return snapshot


def check_split(split: Any, snapshot: Snapshot, context: Context) -> Snapshot:
    """A split puts every row into one part, leaves no part empty and no row out. Gives it."""
    check_plugin(split)
    with _Untouched(split, snapshot):
        done: Snapshot = _twice(split, lambda c: split.run(snapshot, c), context)
    _require(done.rows == snapshot.rows, split, "must keep every row", done.rows)
    column = done.column("split")
    shares = [int((column == number).sum()) for number in range(len(PARTS))]
    _require(min(shares) > 0 and sum(shares) == done.rows, split, "must fill every part", shares)
    return done


def check_recipe(recipe: Any, snapshot: Snapshot, context: Context) -> Model:
    """A recipe gives the same model twice, which answers rows of its snapshot. Gives the model.

    One that names ``start`` in its ``needs`` is also asked to go on from that model.
    """
    check_plugin(recipe)
    with _Untouched(recipe, snapshot):
        model: Model = _twice(recipe, lambda c: recipe.build(snapshot, c), context)
    _require_model_of(recipe, model, snapshot, context)
    if "start" in needs(recipe):
        again = _given(recipe, dataclasses.replace(context, start=model), "start")
        with _Untouched(recipe, model):
            tuned = recipe.build(snapshot, again)
        _require_model_of(recipe, tuned, snapshot, context)
    return model


def check_pass(each: Any, model: Model, context: Context) -> Model:
    """A pass gives the same new model twice, with inputs and answer of the old, which it leaves.

    ``context`` has what the pass needs; a snapshot, if it is there, gives the rows that are tried.
    """
    check_plugin(each)
    with _Untouched(each, model):
        done: Model = _twice(each, lambda c: each.run(model, c), context)
    _require(isinstance(done, Model), each, "must give a Model", type(done))
    _require(done.inputs == model.inputs, each, "must keep the inputs", done.inputs)
    _require(done.answer == model.answer, each, "must keep the answer", done.answer)
    if context.snapshot is not None:
        _require_answers(each, done, context.snapshot, context)
    return done


def check_check(check: Any, model: Model, context: Context) -> Finding:
    """A check gives one finding with a verdict, the same twice unless ``machine_bound``."""
    check_plugin(check)
    with _Untouched(check, model):
        if getattr(type(check), "machine_bound", False):
            found = check.run(model, _given(check, context, "first"))
        else:
            found = _twice(check, lambda c: check.run(model, c), context)
    check_finding(check, found)
    return found  # type: ignore[no-any-return]  # check_finding has looked


def check_finding(check: Any, found: Any) -> None:
    """A finding says what it found, or why it found nothing, and survives JSON.

    Raises:
        ContractError: no Finding, not named as its check, "not measured" with a value or without a
            reason, another verdict without either, or an interval that is none.
    """
    _require(isinstance(found, Finding), check, "must give a Finding", type(found))
    short = _name(check).rpartition(".v")[0]
    _require(found.check == short, check, f"must name its finding {short}", found.check)
    if found.verdict is Verdict.NOT_MEASURED:
        _require(found.value is None, check, "must give no value when not measured", found.value)
        _require(bool(found.reason), check, "must give a reason when not measured")
    else:
        _require(found.verdict in Verdict, check, "must have a verdict", found.verdict)
        told = found.value is not None or bool(found.reason)
        _require(told, check, f"must give a value, or a reason, when it says {found.verdict}")
    low_high = found.interval or (0.0, 0.0)
    _require(low_high[0] <= low_high[1], check, "must give its interval in order", found.interval)
    back = Finding.from_meta(json.loads(_json(check, "finding", found.to_meta())))
    _require(back == found, check, "must give evidence that survives JSON", found.evidence)


def check_runtime(runtime: Any, model: Model, rows: Arrays, context: Context) -> None:
    """A runtime loads its format and answers rows, and refuses wrong inputs and broken files.

    ``rows`` holds ``model``'s inputs, ``dtype[n, ...]`` with n of 2 or more.
    """
    check_plugin(runtime)
    short = _name(runtime).rpartition(".v")[0]
    _require(short == model.format, runtime, "must be registered by its format", short)
    with _Untouched(runtime, model):
        session = runtime.load(model, context.budget)
        _require_rows(runtime, session.run(rows), model, _count(rows))
        one = {name: values[:1] for name, values in rows.items()}
        _require_rows(runtime, session.run(one), model, 1)
        _require_fresh(runtime, session, model, one, context)
        missing = {name: values for name, values in rows.items() if name != model.inputs[0].name}
        _must_raise(runtime, InputMismatchError, lambda: session.run(missing), "a missing input")
    broken = _cut_short(model, context.scratch)
    _must_raise(runtime, ModelError, lambda: runtime.load(broken, context.budget), "a broken file")


def _require_fresh(
    runtime: Any, session: Session, model: Model, row: Arrays, context: Context
) -> None:
    """``session`` has seen rows; a fresh one of it answers as one that was just loaded."""
    wanted, got = runtime.load(model, context.budget).run(row), session.fresh().run(row)
    same = open_kind(model.answer).parity(got, wanted, SAME)
    _require(bool(same.all()), runtime, "must give fresh sessions without memory of earlier rows")


def check_answer_kind(kind: Any, answers: Arrays, truth: Array) -> None:
    """An answer kind judges ``answers`` (its outputs, n rows) against themselves and ``truth``."""
    check_plugin(kind)
    word = getattr(type(kind), "quality_name", None)
    _require(
        isinstance(word, str) and bool(word), kind, "must name its quality: quality_name", word
    )
    count = len(truth)
    names = set(kind.outputs)
    _require(names <= set(answers), kind, "must be shown all of its outputs", sorted(answers))
    _require_mask(kind, "parity", kind.parity(answers, answers, 0.0), count, everywhere=True)
    _require_shares(kind, "disagreement", kind.disagreement(answers, answers), count, most=0.0)
    for name, values in kind.claims(answers).items():
        _require_shares(kind, f"claim {name}", values, count)
    kind.check_truth(truth)
    _json(kind, "tally of a target", kind.tally(truth))
    _require_shares(kind, "quality", kind.quality(answers, truth), count)
    for name, mask in kind.strata(truth).items():
        _require_mask(kind, f"strata {name}", mask, count)
    _require_pictures(kind, kind.evidence(answers, truth))
    for name, values in kind.features(answers).items():
        _require_numbers(kind, f"feature {name}", values, count)
    _json(kind, "description of an answer", kind.describe(answers, 0))
    _must_raise(kind, ValueError, lambda: kind.truth(FOREIGN), "a truth that cannot be")


def _require_pictures(kind: Any, evidence: Json) -> None:
    """What a check would leave can be written down, and drawn in a report."""
    _json(kind, "evidence", evidence)
    finding = Finding(check="evidence", verdict=Verdict.PASS, evidence=evidence)
    _, broken = read([finding])
    _require(not broken, kind, "must leave pictures that a report can draw", broken)


# what all kinds share


def _require(holds: bool, plugin: Any, rule: str, got: object = None) -> None:  # noqa: FBT001
    if not holds:
        cls = plugin if isinstance(plugin, type) else type(plugin)
        name = getattr(cls, "plugin_name", cls.__qualname__)
        told = "" if got is None else f", got {got}"
        raise ContractError(f"{name} {rule}{told}")


def _require_frozen(cls: type) -> None:
    _require(dataclasses.is_dataclass(cls), cls, "must be a dataclass")
    frozen = cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    _require(frozen, cls, "must be frozen: dataclass(frozen=True, kw_only=True)")
    loose = [field.name for field in dataclasses.fields(cls) if not field.kw_only]
    _require(not loose, cls, "must take its fields by keyword (kw_only=True)", loose)


def _require_parameters(plugin: Any) -> None:
    """Parameters go to JSON and back to an equal plugin, and an unknown one is refused."""
    adapter: TypeAdapter[Any] = TypeAdapter(type(plugin))
    told = adapter.dump_python(plugin, mode="json")
    back = adapter.validate_python(json.loads(_json(plugin, "parameters", told)))
    _require(back == plugin, plugin, "must have parameters that survive JSON", told)
    if not dataclasses.fields(plugin):
        return
    try:
        adapter.validate_python({**told, FOREIGN: 1})
    except ValidationError:
        return
    _require(
        holds=False, plugin=plugin, rule='must refuse unknown fields: ConfigDict(extra="forbid")'
    )


def _require_statements(cls: type) -> None:
    """``libraries``, ``needs`` and ``machine_bound``, where a class states them."""
    for name in ("libraries", "needs"):
        stated = getattr(cls, name, ())
        words = isinstance(stated, tuple) and all(isinstance(word, str) for word in stated)
        _require(words, cls, f"must state {name} as a tuple of names", stated)
    by_field: Mapping[str, tuple[str, ...]] = getattr(cls, "needs_by_field", {})
    strange = sorted(set(by_field) - {field.name for field in dataclasses.fields(cls)})
    _require(not strange, cls, "must state needs_by_field by its own fields", strange)
    further = {need for needed in by_field.values() for need in needed}
    unknown = sorted({*getattr(cls, "needs", ()), *further} - NEEDS)
    _require(not unknown, cls, f"must need only {', '.join(sorted(NEEDS))}", unknown)
    bound = getattr(cls, "machine_bound", False)
    _require(isinstance(bound, bool), cls, "must state machine_bound as True or False", bound)


@cache
def _loaded_by(module: str) -> tuple[str, ...]:
    """Which heavy libraries a fresh process has loaded behind ``import module``."""
    script = (
        "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]);"
        "importlib.import_module(sys.argv[2]);"
        "print(json.dumps([name for name in sys.argv[3:] if name in sys.modules]))"
    )
    line = [sys.executable, "-c", script, json.dumps(sys.path), module, *HEAVY]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise ContractError(f"{module} must be importable in a fresh process, got {last}")
    return tuple(json.loads(done.stdout))


def _name(plugin: Any) -> str:
    name: str = getattr(type(plugin), "plugin_name", "")
    return name


def _given(plugin: Any, context: Context, scratch: str) -> Context:
    """``context`` as the runner gives it: only what is needed, and a new folder."""
    folder = context.scratch / scratch
    folder.mkdir()
    hidden: dict[str, Any] = dict.fromkeys(NEEDS - set(needs(plugin)))
    return dataclasses.replace(context, scratch=folder, answered={}, **hidden)


def _twice(plugin: Any, work: Callable[[Context], Any], context: Context) -> Any:
    """The result of ``work``, which must be whole and come out equal a second time."""
    one, two = (work(_given(plugin, context, name)) for name in ("first", "second"))
    _json(plugin, one.kind, one.to_meta())
    _require(one.to_meta() == two.to_meta(), plugin, "must give the same description twice")
    first, second = digests(one.files), digests(two.files)
    differ = sorted(n for n in first | second if first.get(n) != second.get(n))
    _require(not differ, plugin, "must give the same bytes twice", f"{differ} that differ")
    return one


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """sha256 hex of each file, by name."""
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


class _Untouched:
    """Within, what a plugin was given must keep its description and its bytes."""

    def __init__(self, plugin: Any, given: Keepable) -> None:
        self._plugin, self._given = plugin, given

    def __enter__(self) -> None:
        self._before = self._state()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            same = self._state() == self._before
            _require(same, self._plugin, f"must leave the {self._given.kind} it is given as it is")

    def _state(self) -> tuple[str, dict[str, str]]:
        return json.dumps(self._given.to_meta(), sort_keys=True), digests(self._given.files)


def _json(plugin: Any, what: str, value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as fault:
        raise ContractError(f"{_name(plugin)} must give its {what} in JSON, got {fault}") from fault


# data and models


def _require_columns(source: Any, snapshot: Snapshot) -> None:
    """Every column is there in full, as its specification says."""
    names = {column.name for column in snapshot.columns}
    used = {*snapshot.inputs, snapshot.target}
    _require(used <= names, source, "must have its inputs and its target as columns", names)
    open_kind(snapshot.answer)
    for spec in snapshot.columns:
        values = snapshot.column(spec.name)
        told = (snapshot.rows, spec.dtype, spec.shape)
        got = (len(values), str(values.dtype), values.shape[1:])
        _require(got == told, source, f"must have column {spec.name} as {told}", got)


def _require_model_of(recipe: Any, model: Any, snapshot: Snapshot, context: Context) -> None:
    _require(isinstance(model, Model), recipe, "must give a Model", type(model))
    _require(model.inputs == snapshot.input_specs(), recipe, "must take its snapshot's inputs")
    _require(model.answer == snapshot.answer, recipe, "must give its snapshot's answer")
    names = {"", _name(recipe), _name(recipe).rpartition(".v")[0]}
    _require(model.recipe in names, recipe, "must name itself as the model's recipe", model.recipe)
    _require_answers(recipe, model, snapshot, context)


def _require_answers(plugin: Any, model: Model, snapshot: Snapshot, context: Context) -> None:
    """``model`` answers rows of ``snapshot`` by the runtime of its format."""
    rows = {name: values[:3] for name, values in snapshot.feed().items()}
    _require_rows(plugin, context.session(model).run(rows), model, _count(rows))


def _require_rows(plugin: Any, answers: Arrays, model: Model, count: int) -> None:
    absent = sorted(set(open_kind(model.answer).outputs) - set(answers))
    _require(not absent, plugin, "must give every output of the answer kind", f"no {absent}")
    lengths = {name: len(values) for name, values in answers.items()}
    _require(set(lengths.values()) == {count}, plugin, f"must answer {count} rows", lengths)


def _count(rows: Arrays) -> int:
    return len(next(iter(rows.values())))


def _cut_short(model: Model, scratch: Path) -> Model:
    """``model`` with each file cut in half, as by a broken download."""
    folder = scratch / "cut-short"
    folder.mkdir()
    for name, path in model.files.items():
        data = path.read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
    return dataclasses.replace(model, files={name: folder / name for name in model.files})


def _must_raise(plugin: Any, kind: type[Exception], work: Callable[[], object], what: str) -> None:
    try:
        work()
    except kind:
        return
    _require(holds=False, plugin=plugin, rule=f"must raise {kind.__name__} for {what}")


# answers


def _require_numbers(kind: Any, what: str, values: Array, count: int) -> None:
    shaped = (str(values.dtype), values.shape) == ("float64", (count,))
    got = f"{values.dtype}{list(values.shape)}"
    _require(shaped, kind, f"must give {what} as float64[{count}]", got)
    _require(_finite(values.tolist()), kind, f"must give finite numbers as {what}", values)


def _require_shares(kind: Any, what: str, values: Array, count: int, most: float = 1.0) -> None:
    _require_numbers(kind, what, values, count)
    inside = not bool(((values < 0) | (values > most)).any())  # NaN: no answer
    _require(inside, kind, f"must give {what} from 0 to {most:g}", values)


def _require_mask(
    kind: Any, what: str, mask: Array, count: int, *, everywhere: bool = False
) -> None:
    shaped = (str(mask.dtype), mask.shape) == ("bool", (count,))
    _require(shaped, kind, f"must give {what} as bool[{count}]", f"{mask.dtype}{list(mask.shape)}")
    _require(
        not everywhere or bool(mask.all()), kind, f"must find {what} of answers with themselves"
    )


def _finite(values: Iterable[float]) -> bool:
    return all(value - value == 0 for value in values)  # nan and inf give nan
