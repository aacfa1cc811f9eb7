"""The graphs of a release side by side: when each may be used, its bytes, and what checks found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeloop.loop.report.checklines import check_line
from edgeloop.loop.report.facts import Facts, VariantFacts
from edgeloop.loop.report.section import Row, Section, Table, release
from edgeloop.loop.report.words import measured, size
from edgeloop.release.bundle import MAIN, BundleInfo, UsedWhen, prefix
from edgeloop.types import Artifact, Finding


def facts(bundle: Artifact, findings: Sequence[Finding]) -> tuple[VariantFacts, ...]:
    """Each graph of a bundle that has several, the most wanted first."""
    info = BundleInfo.model_validate(bundle.meta)
    if not info.variants:
        return ()
    return tuple(
        VariantFacts(
            name=one.name,
            when=told(one.when),
            size=_size(bundle, one.name, [other.name for other in info.variants]),
            checks=tuple(check_line(f) for f in findings if (f.variant or MAIN) == one.name),
        )
        for one in info.every
    )


def told(when: UsedWhen) -> str:
    """UsedWhen as a person reads them: ``battery 50 % or more, at most 60 C``."""
    return ", ".join(_told(when)) or "always"


def _told(when: UsedWhen) -> Iterator[str]:
    if when.accelerator:
        yield f"on {when.accelerator}"
    if when.free_memory_mb is not None:
        yield f"free memory {when.free_memory_mb:g} MB or more"
    if when.battery_percent is not None:
        yield f"battery {when.battery_percent:g} % or more"
    if when.temperature_c is not None:
        yield f"at most {when.temperature_c:g} C"


def _size(bundle: Artifact, name: str, others: Sequence[str]) -> int:
    own = prefix(name)
    if not own:
        marks = tuple(prefix(other) for other in others)
        return sum(one.size for one in bundle.layers if not one.name.startswith(marks))
    return sum(one.size for one in bundle.layers if one.name.startswith(own))


def section(facts: Facts) -> Section:
    """The newest release that has several graphs; there must be one."""
    newest = [one for one in facts.releases if one.variants][-1]
    checks = list(dict.fromkeys(line.check for one in newest.variants for line in one.checks))
    return Section(
        id="variants",
        title="Variants side by side",
        lead=f"Release {newest.version} has {len(newest.variants)} graphs; a device uses the first"
        " whose conditions hold, and the last where none do.",
        table=Table(
            columns=("release", "variant", "used when", "bytes", *checks),
            rows=[_row(newest.version, one, checks) for one in newest.variants],
        ),
    )


def _row(version: int, one: VariantFacts, checks: Sequence[str]) -> Row:
    lines = {line.check: measured(line) for line in one.checks}
    return (
        release(version),
        one.name,
        one.when,
        size(one.size),
        *(lines.get(check, "") for check in checks),
    )
