"""The docs name all that there is, and lead nowhere that there is not."""

import re
import subprocess
import sys

import pytest
from pages import DOCS, ROOT

PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
LIST = """
import json
from edgeloop import plugins
print(json.dumps([[kind, name] for kind in plugins.KINDS for name in plugins.names(kind)]))
"""


def headings(page) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in found}


def test_the_generated_pages_are_those_of_the_live_program():
    line = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.stdout == "docs are current\n", done.stdout + done.stderr


def test_every_plugin_has_its_place_in_the_reference():
    import json

    found = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, check=True)
    names = {name for _, name in json.loads(found.stdout)}
    text = (DOCS / "reference" / "plugins.md").read_text()
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) == names


def test_every_command_has_its_place_in_the_reference():
    from edgeloop.cli.main import COMMANDS

    text = (DOCS / "reference" / "commands.md").read_text()
    heads = re.findall(r"^## edgeloop (\w+)", text, re.MULTILINE)
    assert {"run", "init", "rollout", "fleet", "device", "agent", "lineage"} <= set(heads)
    assert len(COMMANDS) <= len(set(heads))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_page_that_is_there(page):
    broken = []
    for target, anchor in LINK.findall(page.read_text()):
        if target.startswith(("https:", "http:")):
            continue
        other = (page.parent / target).resolve() if target else page
        if not other.exists() or (anchor and anchor not in headings(other)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_every_page_is_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for target, _ in LINK.findall(page.read_text()):
            if target and not target.startswith("http"):
                waiting.append((page.parent / target).resolve())
    assert (
        sorted(str(p.relative_to(ROOT)) for p in PAGES if p not in seen and "." not in p.stem) == []
    )
