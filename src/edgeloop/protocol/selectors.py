"""Selectors: the short text that names a part of the fleet.

Grammar: ``all``, or ``label=value`` joined by commas, all of which must hold. ``name=`` and
``target=`` ask the device's own name and target, whatever its labels say. The model is not asked
for here: rollouts and requests for samples are of one model each, and a label named ``model``, of
the hardware say, keeps its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgeloop.errors import ProtocolError

_TERM = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=([^,=]{1,128})")
EVERYBODY = "all"


@dataclass(frozen=True, kw_only=True)
class Selector:
    """What a text asks for; empty ``wanted`` asks for everybody."""

    wanted: tuple[tuple[str, str], ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels have every wanted value."""
        return all(labels.get(label) == value for label, value in self.wanted)


def parse(text: str) -> Selector:
    """Read a selector.

    Raises:
        ProtocolError: the text does not follow the grammar.
    """
    if text.strip() == EVERYBODY:
        return Selector(wanted=())
    terms = [_TERM.fullmatch(term.strip()) for term in text.split(",")]
    found = tuple((term[1], term[2]) for term in terms if term)
    if len(found) != len(terms):
        raise ProtocolError(
            "selector", "must be `all`, or label=value joined by commas", got=repr(text)
        )
    return Selector(wanted=found)
