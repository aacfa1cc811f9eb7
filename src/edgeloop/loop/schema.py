"""The JSON schemas of loop and study files, from the live classes: editors complete and check."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from edgeloop import plugins
from edgeloop.loop.file import Structure
from edgeloop.loop.study_file import StudyStructure


def loop_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a loop file, with every plugin registered here."""
    schema = Structure.model_json_schema()
    schema["title"] = "edgeloop loop file"
    definitions = schema.setdefault("$defs", {})
    recipes = [
        _with_use("recipe", name, _plugin(definitions, "recipe", name)) for name in _short("recipe")
    ]
    schema["properties"]["recipe"] = {"anyOf": recipes}
    passes = [
        {
            "type": "object",
            "properties": {name: _plugin(definitions, "pass", name)},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        }
        for name in _short("pass")
    ]
    variant = definitions["Variant"]["properties"]
    variant["passes"] = schema["properties"]["passes"] = {
        "type": "array",
        "items": {"anyOf": [*passes, {"enum": list(_short("pass"))}]},
    }
    checks = {name: _once_or_more(definitions, "check", name) for name in _short("check")}
    variant["checks"] = schema["properties"]["checks"] = {
        "type": "object",
        "properties": checks,
        "additionalProperties": False,
    }
    splits = [
        _with_use("split", name, _plugin(definitions, "split", name)) for name in _short("split")
    ]
    for split in splits:  # the usual one need not be named
        split["required"] = [name for name in split["required"] if name != "use"]
    definitions["Data"]["properties"]["split"] = {"anyOf": splits}
    return schema


def study_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a study file."""
    schema = StudyStructure.model_json_schema()
    schema["title"] = "edgeloop study file"
    return schema


def _short(kind: str) -> list[str]:
    """Names without version: what people write."""
    return sorted({_bare(name) for name in plugins.names(kind)})


def _bare(name: str) -> str:
    return name.rpartition(".v")[0]


def _plugin(definitions: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    """A plugin's own schema; what it refers to moves to the top."""
    schema = TypeAdapter(plugins.get(kind, name)).json_schema()
    definitions.update(schema.pop("$defs", {}))
    return schema


def _once_or_more(definitions: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    """A plugin's parameters, or a list of them."""
    definitions[f"{kind}-{name}"] = _plugin(definitions, kind, name)
    one = {"$ref": f"#/$defs/{kind}-{name}"}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def _with_use(kind: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    written = [name, *(full for full in plugins.names(kind) if _bare(full) == name)]
    properties = {"use": {"enum": written}, **schema.get("properties", {})}
    required = ["use", *schema.get("required", [])]
    return {**schema, "properties": properties, "required": required}
