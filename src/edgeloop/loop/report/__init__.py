"""The report of a loop: gather what happened, and write it as one HTML file."""

from edgeloop.loop.report.collect import collect, windows_of
from edgeloop.loop.report.facts import Facts
from edgeloop.loop.report.page import render
from edgeloop.loop.report.write import write_report

__all__ = ["Facts", "collect", "render", "windows_of", "write_report"]
