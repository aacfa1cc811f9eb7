"""How far the inputs of a group of devices have moved from what its release was measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeloop.protocol.messages import Window
from edgeloop.sketches.profile import Profile, merged
from edgeloop.sketches.psi import drift, nearest


@dataclass(frozen=True, kw_only=True)
class DriftLimits:
    """When moved is too far."""

    psi: float  # population stability index of one feature
    features: int  # so many features beyond it
    answers: int  # of the newest windows are judged; fewer are not judged


@dataclass(frozen=True, kw_only=True)
class GroupDrift:
    """One group of devices against the nearest declared profile of the bundle that it runs."""

    group: str
    bundle: str
    answers: int
    profile: str  # "" when there is nothing to compare with yet
    psi: Mapping[str, float]  # per input feature
    beyond: tuple[str, ...]  # features over the limit, worst first
    drifted: bool


def assess(
    group: str,
    bundle: str,
    windows: Sequence[Window],
    references: Mapping[str, Profile],
    limits: DriftLimits,
) -> GroupDrift:
    """Merge the newest windows of a group and compare them with the nearest reference.

    ``windows`` are one group's, of ``bundle``, oldest first; ``references`` came with that bundle.
    Inputs alone are compared, which every variant of a bundle declares alike: windows of all of its
    variants are judged together. What they answer is judged on the device, by variant.
    Not drifted while there are fewer than ``limits.answers`` answers.
    """
    newest = _newest(windows, limits.answers)
    seen = merged(Profile.from_json(window.sketches) for window in newest)
    found = nearest(references, seen)
    profile = found[0] if found else ""
    indices = drift(references[profile], seen, "input.") if found else {}
    worst = sorted(indices, key=lambda name: -indices[name])
    beyond = tuple(name for name in worst if indices[name] > limits.psi)
    answers = sum(window.answers for window in newest)
    return GroupDrift(
        group=group,
        bundle=bundle,
        answers=answers,
        profile=profile,
        psi={name: round(value, 4) for name, value in sorted(indices.items())},
        beyond=beyond,
        drifted=answers >= limits.answers and len(beyond) >= limits.features,
    )


def _newest(windows: Sequence[Window], answers: int) -> list[Window]:
    """The fewest newest windows that hold so many answers, oldest first."""
    taken: list[Window] = []
    for window in reversed(windows):
        if sum(one.answers for one in taken) >= answers:
            break
        taken.append(window)
    return taken[::-1]
