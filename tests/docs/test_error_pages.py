"""Every error number has a page, and the page's example is a message that the code can give."""

import ast
import re

import pytest
from pages import DOCS, ROOT, blocks

from edgeloop.errors import all_errors

ERRORS = [kind for kind in all_errors() if kind.__module__ == "edgeloop.errors"]
PARTS = ("What happened", "Likely causes", "What to do", "Example")


def raised() -> dict[str, set[str]]:
    """Regular expressions of the messages that each error class is raised with, by its name."""
    found: dict[str, set[str]] = {kind.__name__: set() for kind in ERRORS}
    for path in sorted((ROOT / "src").rglob("*.py")):
        tree = ast.parse(path.read_text())
        named = assigned(tree)
        for node in ast.walk(tree):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if name in found and len(node.args) == 2:
                found[name].add(message(node, named))
    return found


def message(call: ast.Call, named: dict[str, set[str]]) -> str:
    """``thing rule, got <got>. <todo>`` of one ``raise``, unknown parts as ``.+``."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    thing, rule = (pattern(node, named) for node in call.args)
    got = f"(, got {pattern(given['got'], named)})?" if "got" in given else ""
    todo = rf"(\. {pattern(given['todo'], named)})?" if "todo" in given else ""
    return f"{thing} {rule}{got}{todo}"


def pattern(node: ast.AST, named: dict[str, set[str]]) -> str:
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(pattern(part, named) for part in node.values)
    if isinstance(node, ast.BinOp):
        return pattern(node.left, named) + pattern(node.right, named)
    if isinstance(node, ast.Name) and node.id in named:
        return f"({'|'.join(sorted(named[node.id]))})"
    return ".+"


def assigned(tree: ast.AST) -> dict[str, set[str]]:
    """What texts a module gives to its names: ``rule = "must be ..."``."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        several = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        pairs = zip(target.elts, value.elts, strict=True) if several else [(target, value)]
        for name, one in pairs:
            if isinstance(name, ast.Name):
                found.setdefault(name.id, set()).add(pattern(one, {}))
    return found


MESSAGES = raised()


def test_every_error_number_has_a_page_and_every_page_an_error():
    pages = {path.stem for path in (DOCS / "errors").glob("*.md")}
    assert pages == {kind.number for kind in ERRORS}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.number)
def test_a_page_says_what_happened_and_what_to_do(kind):
    text = (DOCS / "errors" / f"{kind.number}.md").read_text()
    assert text.startswith(f"# {kind.number}: ")
    assert f"`{kind.__name__}`, exit code {kind.exit_code}." in text
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == list(PARTS)


def test_no_message_is_so_vague_that_any_sentence_fits():
    vague = {
        (name, one)
        for name, several in MESSAGES.items()
        for one in several
        if re.fullmatch(one, "the moon is made of cheese")
    }
    assert vague == set()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.number)
def test_an_example_is_a_message_that_the_code_can_give(kind):
    ((_, _, text),) = blocks(DOCS / "errors" / f"{kind.number}.md")
    said = text.rstrip("\n").removeprefix(f"[{kind.number}] ")
    fits = [one for one in MESSAGES[kind.__name__] if re.fullmatch(one, said, re.DOTALL)]
    assert fits, f"{said!r} fits none of {sorted(MESSAGES[kind.__name__])}"
