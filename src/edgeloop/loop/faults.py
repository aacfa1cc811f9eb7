"""What is wrong with a file: each fault with its line, field, rule and value, told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong: the field, the rule, what was got."""

    where: tuple[str | int, ...]
    rule: str
    got: object = None

    @property
    def field(self) -> str:
        """Where it is, with dots: ``recipe.epochs``; "" is the whole file."""
        return ".".join(str(part) for part in self.where)

    def text(self, line: int | None) -> str:
        """``line 6: recipe.epochs must be ..., got 0``."""
        place = f"line {line}: " if line else ""
        got = "" if self.got is None else f", got {self.got!r}"
        return f"{place}{self.field or 'the file'} {self.rule}{got}"

    def to_json(self, line: int | None) -> dict[str, object]:
        """The same for programs."""
        return {"line": line, "field": self.field, "rule": self.rule, "value": self.got}


@dataclass(frozen=True, kw_only=True)
class Told:
    """All faults of a file: as one text, and each for programs."""

    text: str  # "2 faults:\n  line 4: ...\n  line 6: ..."
    each: tuple[Mapping[str, object], ...]


def told(faults: Sequence[Fault], tree: yaml.Node | None) -> Told:
    """The faults in the order of their lines; what has no line stands first."""
    found = [(line_of(tree, fault.where), fault) for fault in faults]
    found.sort(key=lambda one: one[0] or 0)
    many = "1 fault" if len(found) == 1 else f"{len(found)} faults"
    lines = [fault.text(line) for line, fault in found]
    each = tuple(fault.to_json(line) for line, fault in found)
    return Told(text=f"{many}:\n  " + "\n  ".join(lines), each=each)


def given_twice(node: yaml.Node | None, where: tuple[str | int, ...] = ()) -> Iterator[Fault]:
    """Keys that a mapping has twice: YAML would silently take the last, and drop a gate so."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from given_twice(item, (*where, number))
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                rule = f"must be given once, and is on lines {seen[key.value]} and {line}"
                yield Fault(where=(*where, key.value), rule=rule)
            seen.setdefault(key.value, line)
            yield from given_twice(value, (*where, key.value))


def broken(where: tuple[str | int, ...], error: ValidationError) -> list[Fault]:
    """What pydantic found under ``where``, in our words."""
    return [
        Fault(where=(*where, *item["loc"]), rule=_rule(item["msg"]), got=_got(item))
        for item in error.errors()
    ]


def _rule(message: str) -> str:
    """Pydantic's sentence as a rule."""
    known = {
        "Field required": "must be given",
        "Extra inputs are not permitted": "must be a known field",
        "Unexpected keyword argument": "must be a known field",
    }
    text = known.get(message, message).removeprefix("Value error, ")
    return text.replace("Input should be", "must be").replace("String should", "must")


def _got(item: Mapping[str, Any]) -> object:
    return None if item["type"] == "missing" else item["input"]


def line_of(node: yaml.Node | None, where: Sequence[str | int]) -> int | None:
    """The line (from 1) of the deepest part of ``where`` that the file has."""
    line = None
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                break
            key, node = found[0]
            line = key.start_mark.line + 1
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
