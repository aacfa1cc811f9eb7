"""The JSON schema of loop files, made from the live classes, so that editors complete and check."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from edgeloop import plugins
from edgeloop.loop.file import Structure


def loop_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a loop file, with every plugin registered here."""
    schema = Structure.model_json_schema()
    schema["title"] = "edgeloop loop file"
    definitions = schema.setdefault("$defs", {})
    recipes = [_with_use(name, _plugin(definitions, "recipe", name)) for name in _short("recipe")]
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
    schema["properties"]["passes"] = {
        "type": "array",
        "items": {"anyOf": [*passes, {"enum": list(_short("pass"))}]},
    }
    checks = {name: _plugin(definitions, "check", name) for name in _short("check")}
    schema["properties"]["checks"] = {
        "type": "object",
        "properties": checks,
        "additionalProperties": False,
    }
    definitions["Data"]["properties"]["split"] = _plugin(definitions, "split", "stratified")
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


def _with_use(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    written = [name, *(full for full in plugins.names("recipe") if _bare(full) == name)]
    properties = {"use": {"enum": written}, **schema.get("properties", {})}
    required = ["use", *schema.get("required", [])]
    return {**schema, "properties": properties, "required": required}
