"""The public names: each can be had, type checkers see the same ones, and docs tell of them."""

import ast
import subprocess
import sys

import pytest
from pages import DOCS, ROOT

import edgeloop


@pytest.mark.parametrize("name", sorted(edgeloop.EXPORTS))
def test_a_public_name_can_be_had_from_its_module(name):
    assert getattr(edgeloop, name).__module__.startswith(edgeloop.EXPORTS[name])


def test_type_checkers_see_the_names_that_programs_get():
    (guarded,) = (
        node
        for node in ast.parse((ROOT / "src" / "edgeloop" / "__init__.py").read_text()).body
        if isinstance(node, ast.If)
    )
    seen = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert seen == edgeloop.EXPORTS


def test_every_public_name_is_told_of_in_the_page_for_programs():
    text = (DOCS / "how-to" / "python-api.md").read_text()
    assert [name for name in edgeloop.EXPORTS if name not in text] == []


def test_importing_the_package_loads_none_of_its_rooms():
    code = "import sys, edgeloop; print([m for m in sys.modules if m.startswith('edgeloop.')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
