"""How many bytes bring a device from each release that may be out to this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.limits import at_most, not_measured
from edgeloop.errors import MissingExtraError
from edgeloop.plugins import register
from edgeloop.quantities import AtMost
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model

FIRST = "first release on this channel: no device has one to update from"


@register("check", "update_bytes.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class UpdateBytes:
    """Bytes of the delta from the channel's newest release, at most ``max``.

    Of the model's files, or the files themselves where they are fewer bytes. The evidence has the
    figure of the releases before it too, for devices that were away. ``max`` (bytes, or text such
    as ``<= 60 kB``) None measures without a limit.
    """

    max: Annotated[AtMost, Field(gt=0)] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "bsdiff4")
    needs: ClassVar[tuple[str, ...]] = ("current",)

    def run(self, model: Model, context: Context) -> Finding:
        """Value in bytes; the figure of each release by its digest."""
        if context.current is None:
            return Finding(check="update_bytes", verdict=Verdict.PASS, reason=FIRST)
        new = _files(model)
        try:
            value = _delta(_files(context.current), new)
            earlier = {digest: _delta(_files(one), new) for digest, one in context.earlier.items()}
        except MissingExtraError as fault:
            return not_measured("update_bytes", str(fault))
        verdict, limit = at_most(value, self.max, "bytes")
        return Finding(
            check="update_bytes",
            verdict=verdict,
            value=float(value),
            unit="bytes",
            limit=limit,
            evidence={"whole": sum(map(len, new)), "current": value, "earlier": earlier},
        )


def _files(model: Model) -> list[bytes]:
    return [path.read_bytes() for _, path in sorted(model.files.items())]


def _delta(old: list[bytes], new: list[bytes]) -> int:
    from edgeloop.delta.create import create_bytes

    return min(len(create_bytes(old, new).data), sum(map(len, new)))
