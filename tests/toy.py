"""A loop of toys for tests: every plugin is real, tiny, and needs neither torch nor a download."""

import textwrap
from pathlib import Path

PLUGINS = {
    "toy_source": '''
        """Numbers between 0 and 1; the label says which half each is in."""
        from pydantic.dataclasses import dataclass
        from edgeloop.data.snapshot import write
        from edgeloop.plugins import register
        from edgeloop.types import AnswerSpec

        @register("source", "toy.v1")
        @dataclass(frozen=True, kw_only=True)
        class ToySource:
            address: str = ""

            def load(self, context):
                import numpy as np
                rows = np.random.default_rng(5).random((600, 1)).astype(np.float32)
                return write(
                    name="toy",
                    inputs={"x": rows},
                    target=("label", (rows[:, 0] > 0.5).astype(np.int64)),
                    answer=AnswerSpec(kind="label", params={"classes": ["low", "high"]}),
                    scratch=context.scratch,
                    provenance={"source": "toy"},
                )
    ''',
    "toy_recipe": '''
        """Cut at one half; rows from the field teach how far their numbers are shifted."""
        import json
        from typing import ClassVar
        from pydantic.dataclasses import dataclass
        from edgeloop.plugins import register
        from edgeloop.types import Model

        SHARPNESS = 20.0  # a line to edit

        @register("recipe", "toy.v1")
        @dataclass(frozen=True, kw_only=True)
        class ToyRecipe:
            sign: float = 1.0  # -1 is a model that is always wrong
            overflows: bool = False  # wrong above 1, where held-out rows never are
            needs: ClassVar[tuple[str, ...]] = ("start",)

            def build(self, snapshot, context):
                import numpy as np
                x, field = snapshot.column("x", "train"), snapshot.column("profile", "train") > 0
                shift = float(x[field].mean() - x[~field].mean()) if context.start else 0.0
                told = {"sign": self.sign, "sharpness": SHARPNESS, "shift": round(shift, 6)}
                path = context.scratch / "toy.json"
                path.write_text(json.dumps({**told, "overflows": self.overflows}))
                return Model(
                    format="toy", answer=snapshot.answer, inputs=snapshot.input_specs(),
                    files={"toy.json": path}, recipe="toy.v1",
                    notes={"curves": {"train_loss": [1.0, 0.5]}},
                )
    ''',
    "toy_pass": '''
        """Round the numbers of the model."""
        import json
        from dataclasses import replace
        from pydantic.dataclasses import dataclass
        from edgeloop.plugins import register

        @register("pass", "toy_round.v1")
        @dataclass(frozen=True, kw_only=True)
        class ToyRound:
            digits: int = 2

            def run(self, model, context):
                told = json.loads(model.files["toy.json"].read_text())
                path = context.scratch / "toy.json"
                path.write_text(json.dumps({k: round(v, self.digits) for k, v in told.items()}))
                return replace(model, files={"toy.json": path})
    ''',
    "toy_check": '''
        """Share of right answers."""
        from typing import ClassVar
        from pydantic.dataclasses import dataclass
        from edgeloop.answers import open_kind
        from edgeloop.plugins import register
        from edgeloop.types import Finding, Verdict

        @register("check", "toy_right.v1")
        @dataclass(frozen=True, kw_only=True)
        class ToyRight:
            min: float = 0.9
            needs: ClassVar[tuple[str, ...]] = ("snapshot",)

            def run(self, model, context):
                rows = context.data()
                answers = context.session(model).run(rows.feed("test"))
                truth = rows.column(rows.target, "test")
                value = float(open_kind(model.answer).quality(answers, truth).mean())
                verdict = Verdict.PASS if value >= self.min else Verdict.FAIL
                return Finding(
                    check="toy_right", verdict=verdict, value=value, limit=f">= {self.min}"
                )
    ''',
    "toy_runtime": '''
        """Run the toy."""
        import json
        from pydantic.dataclasses import dataclass
        from edgeloop.plugins import register

        class Session:
            def __init__(self, told):
                self.told = told

            def fresh(self):
                return self

            def run(self, inputs):
                import numpy as np
                x = inputs["x"][:, 0].astype(np.float64)
                beyond = x > 1
                centred = x - self.told["shift"] * beyond
                steepness = self.told["sharpness"] * self.told["sign"]
                high = 1 / (1 + np.exp(-steepness * (centred - 0.5)))
                if self.told["overflows"]:
                    high = np.where(beyond, 1 - high, high)
                both = np.stack([1 - high, high], axis=1).astype(np.float32)
                return {"probabilities": both, "label": both.argmax(axis=1).astype(np.int64)}

        @register("runtime", "toy.v1")
        @dataclass(frozen=True, kw_only=True)
        class ToyRuntime:
            def load(self, model, budget):
                return Session(json.loads(model.files["toy.json"].read_text()))
    ''',
}

LOOP = """\
name: toy
data: {source: toy}
recipe: {use: toy}
passes:
  - toy_round: {digits: 3}
checks:
  toy_right: {min: 0.9}
"""


def write_toys(folder: Path) -> Path:
    """The plugins as modules in ``folder``, beside a loop file; gives the loop file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in PLUGINS.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text).strip() + "\n")
    (folder / "loop.yaml").write_text(LOOP)
    return folder / "loop.yaml"
