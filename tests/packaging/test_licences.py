"""Nothing that an install of edgeloop brings is under a licence that its users cannot live with."""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OWN_TOOLS = "dev"  # of those who work on edgeloop; nobody's install brings them
REFUSED = re.compile(
    r"\b(A?GPL|BUSL|SSPL)\b|Affero|Business Source|Commons Clause|(?<!Lesser )General Public"
)


def extras() -> tuple[str, ...]:
    """Every extra that people install."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return tuple(sorted(set(whole["project"]["optional-dependencies"]) - {OWN_TOOLS}))


def brought(extras: tuple[str, ...]) -> dict[str, Distribution]:
    """Every distribution that ``edgeloop[extras]`` pulls in here, by name, itself left out."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [("edgeloop", frozenset(extras))]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        found[name] = distribution(name)
        for line in found[name].requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": e}) for e in ("", *wanted)):
                continue
            waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    del found["edgeloop"]
    return found


def licence(one: Distribution) -> str:
    """What a distribution says of its licence: SPDX expression, else classifiers, else a line."""
    told = one.metadata
    classifiers = [c for c in told.get_all("Classifier") or () if c.startswith("License ::")]
    line = (told.get("License") or "").strip().partition("\n")[0]
    return told.get("License-Expression") or "; ".join(classifiers) or line


@pytest.fixture(scope="module")
def installed() -> dict[str, Distribution]:
    try:
        return brought(extras())
    except PackageNotFoundError as absent:
        pytest.skip(f"{absent.name} is not installed here; `make test` installs all extras")


def test_no_dependency_is_under_a_refused_licence(installed):
    refused = {name: licence(d) for name, d in installed.items() if REFUSED.search(licence(d))}
    assert refused == {}


def test_every_dependency_says_its_licence(installed):
    assert [name for name, one in installed.items() if not licence(one)] == []


def test_the_rule_knows_refused_licences_from_others():
    assert REFUSED.search("AGPL-3.0-only")
    assert REFUSED.search("License :: OSI Approved :: GNU General Public License v3 (GPLv3)")
    assert not REFUSED.search("LGPL-2.1-or-later")
    assert not REFUSED.search("GNU Lesser General Public License")
    assert REFUSED.search("BUSL-1.1")
    assert not REFUSED.search("BSL-1.0")  # Boost's, not the Business Source Licence
