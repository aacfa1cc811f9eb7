"""Which files of the spine speak of classes, labels, images, pixels or confusion, and why they may.

The spine must not know what a class is: it asks the answer kind. This walks ``src/edgeloop`` but
for ``recipes/``, takes every name, string and comment apart into words, and fails on a word that
``vocabulary.toml`` beside it does not allow there, and on a permission that nothing needs any more.

The rule: a word counts in any number and any case, alone (``label``), as a part of a name
(``image_summary``, ``WorstClass``) or in text. Python's own never count: the keyword ``class``,
``cls``, ``ClassVar``, ``classmethod``, ``dataclass`` (one word) and the role ``:class:``.

``python tests/packaging/vocabulary.py`` prints the figure and every permission with its reason.
"""

import io
import re
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "edgeloop"
ALLOWED = Path(__file__).with_suffix(".toml")
SUFFIXES = {".py", ".yaml", ".j2", ".sql", ".toml", ".json"}
WORDS = {
    "class": "class", "classes": "class", "label": "label", "labels": "label", "labelled": "label",
    "image": "image", "images": "image", "pixel": "pixel", "pixels": "pixel",
    "confusion": "confusion",
}  # fmt: skip
PYTHONS = re.compile(r":class:|\bClassVar\b|\bclassmethod\b|__class__|\bclass variables?\b")
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
COUNTED = (tokenize.NAME, tokenize.STRING, tokenize.COMMENT)


@dataclass(frozen=True, kw_only=True)
class Permission:
    """In files under ``where`` these words may stand; ``sense`` says in which meaning."""

    sense: str
    where: str
    words: frozenset[str]
    reason: str

    def covers(self, file: str, word: str) -> bool:
        """Whether it is about this word of this file."""
        inside = self.where.endswith("/") and file.startswith(self.where)
        return word in self.words and (file == self.where or inside)


def mentioned(path: Path) -> Counter[str]:
    """How often each word stands in a file."""
    text = path.read_text("utf-8")
    pieces = _python(text) if path.suffix == ".py" else [text]
    parts = (part.lower() for piece in pieces for part in PARTS.findall(PYTHONS.sub("", piece)))
    return Counter(WORDS[part] for part in parts if part in WORDS)


def _python(text: str) -> Iterator[str]:
    """Names, strings and comments, without Python's keyword."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in COUNTED and token.string != "class":
            yield token.string


def spine(source: Path = SOURCE) -> dict[str, Counter[str]]:
    """File -> its words, for every file that mentions one."""
    files = (path for path in sorted(source.rglob("*")) if path.suffix in SUFFIXES)
    told = {str(path.relative_to(source)): mentioned(path) for path in files}
    return {name: words for name, words in told.items() if words and not outside(name)}


def outside(file: str) -> bool:
    """Recipes are of a model each, and may say so."""
    return file.startswith("recipes/")


def permissions(path: Path = ALLOWED) -> list[Permission]:
    """The allow-list."""
    told = tomllib.loads(path.read_text("utf-8"))
    return [
        Permission(sense=sense, where=where, words=frozenset(one["words"]), reason=one["reason"])
        for sense, places in told.items()
        for where, one in places.items()
    ]


def faults(files: dict[str, Counter[str]], allowed: Iterable[Permission]) -> list[str]:
    """Words that nothing allows, and permissions of which a word is not needed."""
    told = list(allowed)
    unknown = [
        f"{file} says {word!r} {count} times: ask the answer kind, or allow it with a reason"
        for file, words in files.items()
        for word, count in words.items()
        if not any(one.covers(file, word) for one in told)
    ]
    idle = [
        f"{one.where} may say {word!r} and does not: take the word off the list"
        for one in told
        for word in sorted(one.words)
        if not any(word in words and one.covers(file, word) for file, words in files.items())
    ]
    return unknown + idle


def senses(files: dict[str, Counter[str]], allowed: Iterable[Permission]) -> dict[str, set[str]]:
    """Sense -> the files in which a word has it."""
    found: dict[str, set[str]] = {}
    for one in allowed:
        inside = {f for f, words in files.items() if any(one.covers(f, w) for w in words)}
        found.setdefault(one.sense, set()).update(inside)
    return found


def main() -> int:
    """Print the figure; 1 when something is wrong."""
    files, allowed = spine(), permissions()
    by_sense = senses(files, allowed)
    other = {
        name for sense, names in by_sense.items() if sense.startswith("other") for name in names
    }
    models = {n for s, names in by_sense.items() if not s.startswith("other") for n in names}
    print(f"{len(files)} files outside recipes/ mention a class, a label or an image:")
    print(f"{len(models)} in the sense of a model, {len(other - models)} in other senses only")
    for sense in by_sense:
        print(f"\n{sense} ({len(by_sense[sense])})")
        for one in (one for one in allowed if one.sense == sense):
            print(f"  {one.where:34} {', '.join(sorted(one.words)):24} {one.reason}")
    wrong = faults(files, allowed)
    print("\n".join(["", *wrong]) if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
