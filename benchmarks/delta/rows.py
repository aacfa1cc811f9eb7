"""One row of the table: a pair's bytes by every method, and how good old and new file are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from delta import files, forms, ours, peers, training
from delta.pairs import Pair


@dataclass(frozen=True, kw_only=True)
class Row:
    """One pair. Sizes are bytes by the method's name; ``absent`` says why one is missing.

    ``fits`` names the peers whose decoder needs no more memory than ours may.
    """

    pair: Pair
    weights: int
    old_score: float
    new_score: float
    sizes: dict[str, int]
    absent: dict[str, str] = field(default_factory=dict)
    fits: tuple[str, ...] = ()
    ours: int = 0
    bits: float = 0.0
    coded: int = 0

    @property
    def best(self) -> str:
        """The smallest peer's name."""
        return min(self.sizes, key=self.sizes.__getitem__)

    @property
    def ratio(self) -> float:
        """Ours by the smallest peer."""
        return self.ours / self.sizes[self.best]

    @property
    def over(self) -> int:
        """Bytes that ours has more than the smallest peer of those that fit."""
        return self.ours - min(self.sizes[name] for name in self.fits if name in self.sizes)


def row(pair: Pair, kept: Path) -> Row:
    """Measure one pair. What peers and scores gave is kept: ours is measured every time."""
    both = files.of(pair, kept)
    known = _kept(pair, both, kept)
    made = ours.delta(both.old, both.new)
    return replace(known, ours=len(made.data), bits=made.bits, coded=made.coded)


def _kept(pair: Pair, both: peers.Files, kept: Path) -> Row:
    """The row without ours."""
    here = Path(__file__).parent
    parts = [(here / name).read_bytes() for name in ("peers.py", "rows.py", "forms.py")]
    found = hashlib.sha256(b"".join([*parts, both.old, both.new])).hexdigest()[:16]
    path = kept / "rows" / f"{found}.json"
    if path.exists():
        told: dict[str, Any] = json.loads(path.read_text())
        return Row(**{**told, "pair": pair, "fits": tuple(told["fits"])})
    made = _by_others(pair, both, kept)
    if not any(why.endswith("not installed") for why in made.absent.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(made)))
    return made


def _by_others(pair: Pair, both: peers.Files, kept: Path) -> Row:
    sizes, absent = {}, {}
    for peer in peers.PEERS:
        try:
            sizes[peer.name] = peers.size(peer, both)
        except peers.AbsentError as why:
            absent[peer.name] = str(why)
    data = training.data_of(pair.model, pair.update)
    net = training.trained(pair.model, pair.update, kept)
    return Row(
        pair=pair,
        weights=sum(one.numel() for one in net.parameters()),
        old_score=forms.score(pair.form, both.old, net, data),
        new_score=forms.score(pair.form, both.new, net, data),
        sizes=sizes,
        absent=absent,
        fits=tuple(p.name for p in peers.PEERS if p.held(both) <= peers.MEMORY),
    )
