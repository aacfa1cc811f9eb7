"""A number that a command takes; its range stands in the option's type."""

from __future__ import annotations

import math

import typer


def number(value: float) -> float:
    """The value; NaN is in every range, and refused here."""
    if math.isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value
