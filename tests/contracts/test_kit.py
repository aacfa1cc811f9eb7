"""The kit catches each breach of the contract, and says which rule was broken."""

import dataclasses
import itertools
from typing import Annotated, ClassVar

import pytest
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.testing import contracts
from edgeloop.testing.contracts import ContractError
from edgeloop.types import Finding, Verdict

strict = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
COUNTER = itertools.count()


def named(name):
    """Give a class its registered name without adding it to the live registry."""

    def keep(cls):
        cls.plugin_name = name
        return cls

    return keep


@named("copy.v1")
@strict
class Copy:
    """A pass that copies."""

    share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model, context):
        files = {}
        for name, path in model.files.items():
            files[name] = context.scratch / name
            files[name].write_bytes(path.read_bytes())
        return dataclasses.replace(model, files=files)


@named("mean.v1")
@strict
class Mean:
    """A check that gives what it was made with."""

    verdict: Verdict = Verdict.PASS
    value: float | None = 1.0
    reason: str = ""
    interval: tuple[float, float] | None = None
    named: str = "mean"

    def run(self, model, context):
        return Finding(
            check=self.named,
            verdict=self.verdict,
            value=self.value,
            reason=self.reason,
            interval=self.interval,
        )


def broken(work) -> str:
    with pytest.raises(ContractError) as caught:
        work()
    return str(caught.value)


def test_a_plugin_that_keeps_the_contract_passes(onnx_model, everything):
    contracts.check_pass(Copy(), onnx_model, everything())
    contracts.check_check(Mean(), onnx_model, everything())


def test_a_plugin_must_be_frozen():
    @named("loose.v1")
    @dataclass(kw_only=True)
    class Loose:
        """A plugin that can change."""

    assert broken(lambda: contracts.check_plugin(Loose())) == (
        "loose.v1 must be frozen: dataclass(frozen=True, kw_only=True)"
    )


def test_a_plugin_must_take_its_fields_by_keyword():
    @named("ordered.v1")
    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Ordered:
        """A plugin whose fields have places."""

        share: float = 0.5

    assert broken(lambda: contracts.check_plugin(Ordered())) == (
        "ordered.v1 must take its fields by keyword (kw_only=True), got ['share']"
    )


def test_a_plugin_must_be_registered_with_a_version():
    @named("copy")
    @strict
    class Unversioned:
        """A plugin without a version."""

    assert broken(lambda: contracts.check_plugin(Unversioned())) == (
        "copy must be registered as <name>.v<n>"
    )


def test_a_plugin_must_refuse_a_field_that_it_does_not_have():
    @named("lenient.v1")
    @dataclass(frozen=True, kw_only=True)
    class Lenient:
        """A plugin that takes anything."""

        share: float = 0.5

    assert broken(lambda: contracts.check_plugin(Lenient())) == (
        'lenient.v1 must refuse unknown fields: ConfigDict(extra="forbid")'
    )


def test_a_plugin_must_need_only_what_the_runner_gives():
    @named("greedy.v1")
    @strict
    class Greedy:
        """A plugin that needs what there is not."""

        needs: ClassVar[tuple[str, ...]] = ("snapshot", "database")

    assert broken(lambda: contracts.check_plugin(Greedy())) == (
        "greedy.v1 must need only current, reference, snapshot, start, got ['database']"
    )


def test_what_a_field_asks_for_is_named_by_a_field_that_there_is():
    @named("absent.v1")
    @strict
    class Absent:
        """A plugin that looks at a field which it has not."""

        needs_by_field: ClassVar[dict[str, tuple[str, ...]]] = {"toward": ("current",)}

    assert broken(lambda: contracts.check_plugin(Absent())) == (
        "absent.v1 must state needs_by_field by its own fields, got ['toward']"
    )


def test_a_plugin_must_be_light_to_import(tmp_path, monkeypatch):
    (tmp_path / "heavy_plugin.py").write_text("import numpy\n")
    monkeypatch.syspath_prepend(tmp_path)

    @named("heavy.v1")
    @strict
    class Heavy:
        """A plugin whose module loads numpy."""

    Heavy.__module__ = "heavy_plugin"
    assert broken(lambda: contracts.check_plugin(Heavy())) == (
        "heavy.v1 must be light to import, got heavy_plugin loads ('numpy',)"
    )


def test_a_pass_must_leave_the_model_it_is_given(onnx_model, everything, tmp_path):
    @named("spoil.v1")
    @strict
    class Spoil(Copy):
        """A pass that writes into its input."""

        def run(self, model, context):
            done = super().run(model, context)
            with model.files["model.onnx"].open("ab") as file:
                file.write(b"\0")
            return done

    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_model.files["model.onnx"].read_bytes())
    model = dataclasses.replace(onnx_model, files={"model.onnx": path})
    said = broken(lambda: contracts.check_pass(Spoil(), model, everything()))
    assert said == "spoil.v1 must give the same bytes twice, got ['model.onnx'] that differ"

    @named("spoil_later.v1")
    @strict
    class SpoilLater(Copy):
        """A pass that writes into its input when both of its results are there."""

        def run(self, model, context):
            done = super().run(model, context)
            if context.scratch.name == "second":
                with model.files["model.onnx"].open("ab") as file:
                    file.write(b"\0")
            return done

    said = broken(lambda: contracts.check_pass(SpoilLater(), model, everything()))
    assert said == "spoil_later.v1 must leave the model it is given as it is"


def test_a_pass_must_give_the_same_bytes_twice(onnx_model, everything):
    @named("dated.v1")
    @strict
    class Dated(Copy):
        """A pass that leaves a number in its file."""

        def run(self, model, context):
            done = super().run(model, context)
            with done.files["model.onnx"].open("ab") as file:
                file.write(str(next(COUNTER)).encode())
            return done

    assert broken(lambda: contracts.check_pass(Dated(), onnx_model, everything())) == (
        "dated.v1 must give the same bytes twice, got ['model.onnx'] that differ"
    )


def test_a_pass_must_describe_its_model_in_json(onnx_model, everything):
    @named("odd.v1")
    @strict
    class Odd(Copy):
        """A pass that notes what JSON cannot hold."""

        def run(self, model, context):
            return dataclasses.replace(super().run(model, context), notes={"seen": {1, 2}})

    assert broken(lambda: contracts.check_pass(Odd(), onnx_model, everything())) == (
        "odd.v1 must give its model in JSON, got Object of type set is not JSON serializable"
    )


def test_a_pass_must_name_what_it_uses_in_its_needs(onnx_model, everything):
    @named("secretive.v1")
    @strict
    class Secretive(Copy):
        """A pass that uses a snapshot without saying so."""

        needs: ClassVar[tuple[str, ...]] = ()

        def run(self, model, context):
            context.data()
            return super().run(model, context)

    with pytest.raises(LookupError, match="did not name 'snapshot' in its needs"):
        contracts.check_pass(Secretive(), onnx_model, everything())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"verdict": "not measured", "value": None},
            "mean.v1 must give a reason when not measured",
        ),
        (
            {"verdict": "not measured", "reason": "no rows"},
            "mean.v1 must give no value when not measured, got 1.0",
        ),
        ({"value": None}, "mean.v1 must give a value, or a reason, when it says pass"),
        ({"named": "median"}, "mean.v1 must name its finding mean, got median"),
        ({"interval": (2, 1)}, "mean.v1 must give its interval in order, got (2.0, 1.0)"),
    ],
)
def test_a_finding_must_be_whole(given, said, onnx_model, everything):
    assert broken(lambda: contracts.check_check(Mean(**given), onnx_model, everything())) == said


def test_a_plugin_must_have_parameters_that_json_can_hold():
    said = broken(lambda: contracts.check_plugin(Mean(value=float("inf"))))
    assert said.startswith("mean.v1 must give its parameters in JSON, got Out of range float")


def test_a_check_must_not_depend_on_chance(onnx_model, everything):
    @named("dice.v1")
    @strict
    class Dice:
        """A check that gives another value each time."""

        def run(self, model, context):
            return Finding(check="dice", verdict=Verdict.PASS, value=float(next(COUNTER)))

    assert broken(lambda: contracts.check_check(Dice(), onnx_model, everything())) == (
        "dice.v1 must give the same description twice"
    )
