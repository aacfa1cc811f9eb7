"""Move the fragments of changelog.d into CHANGELOG.md: ``changelog.py <version> <date>``.

The date is also what devices take for the earliest that it can be (``release/trusted_time.py``).
"""

import argparse
import datetime as dt
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")
FRAGMENT = re.compile(rf"[a-z0-9-]+\.({'|'.join(KINDS)})\.md")
TRUSTED_TIME = ROOT / "src" / "edgeloop" / "release" / "trusted_time.py"
MARK = "<!-- releases -->\n"


def fragments(folder: Path) -> list[Path]:
    """Every fragment, by name. Whatever else lies there stops the release."""
    found = sorted(path for path in folder.iterdir() if path.name != "README.md")
    wrong = [path.name for path in found if not FRAGMENT.fullmatch(path.name)]
    if wrong:
        raise SystemExit(f"changelog.d: {wrong[0]} must be named <short-name>.<kind>.md")
    return found


def section(version: str, date: str, paths: list[Path]) -> str:
    """One release, its changes by kind."""
    lines = [f"## {version} ({date})", ""]
    for kind in KINDS:
        texts = [" ".join(p.read_text().split()) for p in paths if p.name.endswith(f".{kind}.md")]
        if texts:
            lines += [f"### {kind.capitalize()}", "", *(f"- {text}" for text in texts), ""]
    return "\n".join(lines)


def released(text: str, date: str) -> str:
    """The module that holds the day of the release, before which it cannot be on any device."""
    return re.sub(
        r'^RELEASED = "[0-9-]*"', f'RELEASED = "{date}"', text, count=1, flags=re.MULTILINE
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version")
    parser.add_argument("date")
    told = parser.parse_args()
    dt.date.fromisoformat(told.date)  # devices read it
    paths = fragments(ROOT / "changelog.d")
    page = ROOT / "CHANGELOG.md"
    new = MARK + "\n" + section(told.version, told.date, paths)
    page.write_text(page.read_text().replace(MARK, new, 1))
    TRUSTED_TIME.write_text(released(TRUSTED_TIME.read_text(), told.date))
    for path in paths:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
