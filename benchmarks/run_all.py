"""Measure every figure and write RESULTS.md: one script after the other, each a process of its own.

Run by ``make bench``. With ``--only`` the figures of the other scripts stay as they were measured.
The exit status is 0 when every script could measure; a missed target is printed, not hidden.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figure import Figure, Measured, not_measured, told
from machine import load, machine

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "results.json", HERE / "RESULTS.md"
LONGEST = 5400.0  # seconds of one script
SCRIPTS = (  # what needs quiet most comes first; those that train share nothing with it
    "start_up",
    "rerun",
    "loop_overhead",
    "idle_agent",
    "serve_load",
    "agent_cost",
    "llm_speed",
    "base_size",
    "demo_time",
    "five_turns",
    "int8_against_float",
    "delta_codec",  # trains, the first time; `make bench-delta` brings those it is held against
    "harnesses",  # the whole of each: the better part of an hour
)
HEAD = """\
# Results

Written by `make bench`; `python benchmarks/run_all.py --only NAME` measures one script anew.
Every figure is as it was measured: a missed target says so, with its reason.
Times are medians with the least and the most, of whole processes where nothing else is said.
Single readings are in [results.json](results.json).
"""


def main() -> int:
    """Measure what was asked for, keep it, write the page."""
    given = _given()
    if given.list:
        print("\n".join(SCRIPTS))
        return 0
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    fine = True
    with TemporaryDirectory(prefix="edgeloop-bench-") as folder:
        for name in given.only or SCRIPTS:
            print(f"== {name}", flush=True)
            kept[name] = _measured(name, Path(folder))
            fine = fine and not kept[name]["fault"]
            print(told(_figures(kept[name])), flush=True)
    KEPT.write_text(json.dumps({name: kept[name] for name in SCRIPTS if name in kept}, indent=1))
    PAGE.write_text(page({name: kept[name] for name in SCRIPTS if name in kept}))
    print(f"written: {PAGE.relative_to(HERE.parent)}")
    return 0 if fine else 1


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, metavar="NAME", help="these alone")
    parser.add_argument("--list", action="store_true", help="say the scripts' names")
    return parser.parse_args()


def _measured(name: str, work: Path) -> dict[str, Any]:
    """What a script measured, when and how; a script that breaks leaves its reason."""
    before, began, kept = load(), time.monotonic(), work / f"{name}.json"
    line = [
        str(part) for part in (sys.executable, HERE / f"{name}.py", "--work", work, "--json", kept)
    ]
    found, fault = Measured(figures=()).to_json(), ""
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONGEST)
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)
            said = done.stderr.strip().replace(str(work), "WORK")  # no path of this machine
            fault = (said.splitlines() or [f"exit status {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        fault = f"it took more than {LONGEST:.0f} s"
    if not fault:
        found = json.loads(kept.read_text())
    return {
        **found,
        "fault": fault,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "seconds": round(time.monotonic() - began),
        "load": f"{before} before, {load()} after",
        "machine": machine(),
    }


def _figures(kept: Mapping[str, Any]) -> tuple[Figure, ...]:
    if kept["fault"]:
        return (not_measured("all of this script's figures", kept["fault"]),)
    return Measured.from_json(kept).figures


def page(kept: Mapping[str, Any]) -> str:
    """RESULTS.md: machine, a table of all figures, then each script's parts."""
    newest = max(kept.values(), key=lambda one: one["date"])["machine"]
    about = [f"- {what}: {words}" for what, words in newest.items()]
    rows = [row for name in kept for row in _rows(name, kept[name])]
    table = ["| figure | measured | target | |", "| --- | --- | --- | --- |", *rows]
    sections = [line for name in kept for line in _section(name, kept[name], newest)]
    blocks = [HEAD, "## Machine\n", *about, "", "## Figures\n", *table, "", *sections]
    return "\n".join(blocks).rstrip() + "\n"


def _rows(name: str, kept: Mapping[str, Any]) -> list[str]:
    return [
        f"| [{one.what}](#{name}) | {one.value} | {one.target} | {_marked(one)} |"
        for one in _figures(kept)
    ]


def _marked(one: Figure) -> str:
    """The verdict; what a reader must not miss stands out."""
    return f"**{one.verdict}**" if one.verdict in {"missed", "not measured"} else one.verdict


def _section(name: str, kept: Mapping[str, Any], newest: Mapping[str, str]) -> list[str]:
    how = f"`python benchmarks/{name}.py`, {kept['date']}, took {kept['seconds']} s"
    lines = [f"## {name}", "", f"{how}; processes that wanted a core: {kept['load']}.", ""]
    if kept["machine"] != newest:
        lines[2] += f" On another machine: {', '.join(kept['machine'].values())}."
    for one in _figures(kept):
        lines.append(f"- {one.what}: {one.value} ({one.verdict})")
        lines += [f"  - {part}" for part in one.parts]
        lines += [f"  - why: {one.reason}"] if one.reason else []
    below = kept.get("table", ())
    return [*lines, "", *below, *([""] if below else [])]


if __name__ == "__main__":
    sys.exit(main())
