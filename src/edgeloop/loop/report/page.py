"""Write the facts of a loop as one HTML file that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType

from edgeloop.errors import MissingExtraError
from edgeloop.loop.report.canvas import release_variable
from edgeloop.loop.report.facts import Facts
from edgeloop.loop.report.section import Section
from edgeloop.loop.report.sections import sections
from edgeloop.loop.report.story import sentences
from edgeloop.loop.report.words import unbroken

TEMPLATE = "page.html.j2"
NOTHING: Mapping[str, str] = MappingProxyType({})


def render(facts: Facts, extra: Mapping[str, str] = NOTHING) -> str:
    """The page; the same facts give the same text. ``extra`` is shown as the closing table.

    A value that is, or begins as, ``yes: 8 devices`` (likewise ``no``, ``pass``, ``fail`` and ``not
    measured``) is shown as a verdict, with what was recorded beside it.

    Raises:
        MissingExtraError: Jinja2 or Matplotlib is not installed.
    """
    colors = {one.version: release_variable(one.version) for one in facts.releases}
    return page(
        kicker=f"Report of the loop · channel {facts.channel}",
        heading=facts.name,
        sentences=sentences(facts),
        sections=sections(facts, extra),
        releases=[(one.version, one.digest[7:19], colors[one.version]) for one in facts.releases],
    )


def page(
    *,
    kicker: str,
    heading: str,
    sentences: Sequence[str],
    sections: Sequence[Section],
    releases: Sequence[tuple[int, str, str]] = (),
) -> str:
    """A page of sections; ``releases`` are shown with their short digests and colours.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingExtraError(
            "jinja2", "must be installed to write a report", todo="pip install 'edgeloop[report]'"
        ) from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["unbroken"] = unbroken
    template = environment.from_string(files(__package__).joinpath(TEMPLATE).read_text("utf-8"))
    return template.render(
        kicker=kicker, heading=heading, sentences=sentences, sections=sections, releases=releases
    )
